# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the real-host layer: containers that have the package installed, of each Debian release."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hosts.client import manager
from hosts.lan import Lan
from hosts.machine import Host
from hosts.people import Terminal, alices_manager, nothing_left
from hosts.selection import AT_LENGTH, BY_RELEASE, LONGEST, THE_SAME, marked
from hosts.services import over
from hosts.trees import SUITES, missing, package, tree
from hosts.two import on_the_network

_HERE = Path(__file__).parent
BootHost = Callable[..., Host]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here as host tests, give them time, and skip them only on a developer's own machine."""
    order = {module: place for place, module in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)) if _HERE in item.path.parents else 0)
    for item in marked(items, _HERE, "host", 90, missing()):
        if item.path.stem in BY_RELEASE and getattr(item, "originalname", None) not in THE_SAME:
            item.add_marker(pytest.mark.release)
        if item.path.stem in AT_LENGTH:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package under test."""
    return package(tmp_path_factory.mktemp("package"), missing())


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """The Debian release of the host."""
    return str(request.param)


@pytest.fixture(scope="session")
def host_tree(suite: str, deb: Path) -> Path:
    """A tree of that release with the package installed."""
    return tree("host", suite, deb)


@pytest.fixture(scope="module")
def host(host_tree: Path) -> Iterator[Host]:
    """A booted host, shared by the tests of a module: leave it as it was found."""
    with Host(host_tree) as booted:
        yield booted


@pytest.fixture(scope="module")
def pair(host_tree: Path) -> Iterator[tuple[Lan, Host, Host]]:
    """Two hosts, with Avahi, on one network, shared by the tests of a module; nobody has turned peers on."""
    with Lan() as lan, Host(host_tree, lan=lan) as one, Host(host_tree, lan=lan) as two:
        on_the_network(one, two)
        yield lan, one, two


@pytest.fixture
def boot_host(host_tree: Path) -> Iterator[BootHost]:
    """Boot a host for this test alone, with the options of Host."""
    with contextlib.ExitStack() as stack:

        def boot(**options: object) -> Host:
            return stack.enter_context(Host(host_tree, **options))  # type: ignore[arg-type]

        yield boot


@pytest.fixture
def nothing_of_alices(host: Host) -> Iterator[None]:
    """End what a test leaves behind of alice's missions."""
    yield
    nothing_left(host)


@pytest.fixture
def terminal(host: Host) -> Iterator[Terminal]:
    """Alice's terminal, with a shell that waits for her."""
    opened = Terminal(host, "t")
    try:
        yield opened
    finally:
        opened.close()
        host.run(["rm", "-f", "/tmp/keys-t"])


@pytest.fixture
def nothing_kept(host: Host) -> Iterator[None]:
    """Every test of services that are started again gives everything back."""
    yield
    over(host)
    assert manager(host, "Degraded") == "as 0"


@pytest.fixture(scope="module")
def alice(host: Host) -> None:
    """Alice's manager, and an agent that is there."""
    alices_manager(host)
    host.wait_active()
