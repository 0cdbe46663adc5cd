# SPDX-License-Identifier: Apache-2.0
"""What the measurements share: the hosts, and the table that is printed at the end.

With MISSIOND_BENCH_OUT the table is also written to that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.board import Board
from bench.fleet import KINDS, Fleet, Kind
from hosts.trees import SUITES, missing, package, tree

_HERE = Path(__file__).parent
_BOARD = pytest.StashKey[Board]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here, and give it time."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.bench)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300, func_only=True))


def pytest_terminal_summary(config: pytest.Config, terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    board = config.stash.get(_BOARD, None)
    if board is None or not board.rows:
        return
    terminalreporter.section("measured")
    terminalreporter.write(board.text())
    if file := os.environ.get("MISSIOND_BENCH_OUT"):
        Path(file).write_text(board.text())


@pytest.fixture(scope="session")
def board(pytestconfig: pytest.Config) -> Board:
    """Where figures go."""
    return pytestconfig.stash.setdefault(_BOARD, Board())


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The hosts."""
    deb = package(tmp_path_factory.mktemp("package"), missing())
    hosts = Fleet({release: tree("host", release, deb) for release in SUITES})
    try:
        yield hosts
    finally:
        hosts.close()


@pytest.fixture(scope="session", params=SUITES)
def suite_tree(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A release, and a tree with its Python and libraries."""
    _need_root()
    return request.param, tree("test", request.param)


def _need_root() -> None:
    reason = missing()
    if reason is not None:
        pytest.fail(f"this machine can't measure: {reason}")


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> Kind:
    """The release that is measured."""
    found = request.param
    assert isinstance(found, Kind)
    return found
