# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the virtual machine: one per release, shared by all tests: leave it as it was found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.selection import marked
from hosts.trees import package, tree
from vm.images import SUITES, missing
from vm.machine import Machine

_HERE = Path(__file__).parent
_EVERY_DAY = {"test_battery", "test_out_of_memory", "test_sleep"}
"""What only a machine shows, and is not left to packaging/test --full."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here as tests of the machine, give them time, and skip them only on a developer's own."""
    for item in marked(items, _HERE, "vm", 300, missing()):
        if item.path.stem not in _EVERY_DAY:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def vm_deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package under test."""
    return package(tmp_path_factory.mktemp("package"), missing())


@pytest.fixture(scope="session", params=SUITES)
def vm_suite(request: pytest.FixtureRequest) -> str:
    """The Debian release of the machine."""
    return str(request.param)


@pytest.fixture(scope="session")
def machine(vm_suite: str, vm_deb: Path) -> Iterator[Machine]:
    """A booted machine."""
    with contextlib.closing(Machine(tree("vm", vm_suite, vm_deb))) as booted:
        print(f"the machine took {booted.took:.0f} s to boot")
        yield booted
