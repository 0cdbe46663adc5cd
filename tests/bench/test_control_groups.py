# SPDX-License-Identifier: Apache-2.0
"""One user makes control groups by the thousand: what another one's calls take meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles

import pytest

from bench.board import Baseline, Board, Goal, Row
from bench.fleet import SERVICE, Fleet, Kind, script
from hosts.machine import Host
from hosts.spawned import Spawned

CROWDS = {"terminals": 1500, "scopes": 20_000, "services": 20_000, "slices": 20_000, "within": 20_000}
AT_START = 80_000
AFTER = 6.0
"""Seconds for which calls are measured after the last group was made, and after all are removed."""


class Pings:
    """What bob's calls of the agent and of logind take."""

    def __init__(self, host: Host) -> None:
        self._process = host.spawn(script("pings"), user="bob")

    def taken(self) -> dict[str, list[float]]:
        """Those since the last time, ms."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return {name: [each / 1e6 for each in times] for name, times in found.items()}

    def close(self) -> None:
        """Ping no more."""
        self._process.close()


@contextmanager
def pinging(host: Host) -> Iterator[Pings]:
    """Have bob call all the time."""
    pings = Pings(host)
    try:
        yield pings
    finally:
        pings.close()


@contextmanager
def groups(host: Host, kind: str, count: int) -> Iterator[Spawned]:
    """Make them, and remove them in the end."""
    process = host.spawn(script("groups", kind, str(count)))
    try:
        assert process.stdout.readline() == "made\n"
        yield process
    finally:
        _next(process, "removed")
        process.close()


def _next(process: Spawned, word: str) -> None:
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"{word}\n"


@pytest.mark.timeout(900, func_only=True)
@pytest.mark.parametrize("what", CROWDS)
def test_others_while_one_makes_groups(fleet: Fleet, board: Board, kind: Kind, what: str) -> None:
    """From the first group to the last that is removed, and the look at them that follows."""
    host = fleet.host(kind)
    with pinging(host) as pings:
        pings.taken()
        with groups(host, what, CROWDS[what]):
            time.sleep(AFTER)  # what is measured, not a wait for something
        time.sleep(AFTER)
        taken = pings.taken()
    for name, place in (("p50", 49), ("p99", 98)):
        own, other = (quantiles(taken[who], n=100)[place] for who in ("agent", "logind"))
        board.add(_row(kind, f"ping {name}, {CROWDS[what]} {what}", own, other, None))
    goal = Goal(50)
    board.add(_row(kind, f"ping max, {CROWDS[what]} {what}", max(taken["agent"]), max(taken["logind"]), goal))


@pytest.mark.timeout(900, func_only=True)
def test_start_with_groups(fleet: Fleet, board: Board, kind: Kind) -> None:
    """READY comes before the look at all of them is over."""
    host = fleet.host(kind)
    bare = _start(host)
    with groups(host, "scopes", AT_START):
        took = _start(host)
        with pinging(host) as pings:
            time.sleep(AFTER)  # what is measured, not a wait for something
            taken = pings.taken()
    goal = Goal(2500)
    board.add(_row(kind, f"start with {AT_START} groups", took, bare, goal, "start with none"))
    slowest = max(taken["agent"]), max(taken["logind"])
    board.add(_row(kind, f"ping max after a start with {AT_START} groups", *slowest, Goal(50)))


def _row(
    kind: Kind, measured: str, own: float, other: float, goal: Goal | None, name: str = "logind's"
) -> Row:
    return Row(*kind, measured, own, "ms", goal, Baseline(name, other), digits=1)


def _start(host: Host) -> float:
    """One start, ms."""
    host.systemctl("restart", SERVICE)
    begun, ready = (
        int(host.show(SERVICE, f"{name}TimestampMonotonic")) for name in ("ExecMainStart", "ActiveEnter")
    )
    return (ready - begun) / 1e3
