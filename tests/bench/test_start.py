# SPDX-License-Identifier: Apache-2.0
"""How long the service takes from the start of its process to READY=1."""

from __future__ import annotations

from statistics import median

from bench.board import Baseline, Board, Goal, Row
from bench.fleet import SERVICE, Fleet, Kind, inside
from hosts.machine import Host

STARTS = 10
BASELINES = ("pass", "import asyncio")


def test_start(fleet: Fleet, board: Board, kind: Kind) -> None:
    """By systemd's own clock, next to what Python alone takes to start and end."""
    host = fleet.host(kind)
    bare = {code: _python(host, code) for code in BASELINES}
    took = sorted(_start(host) for _ in range(STARTS))
    note = f"{took[0]:.0f} to {took[-1]:.0f}"
    for code, time in bare.items():
        baseline = Baseline(f"python3 -I -c '{code}'", time)
        measured = f"start to READY by '{code}'"
        board.add(Row(*kind, measured, median(took), "ms", Goal(400), baseline, note))


def _python(host: Host, code: str) -> float:
    """The median time of a Python that does only this, ms."""
    times: list[int] = inside(host, "spawn", str(STARTS), "python3", "-I", "-c", code)
    return median(times) / 1e6


def _start(host: Host) -> float:
    """One start, ms."""
    host.systemctl("restart", SERVICE)
    begun, ready = (
        int(host.show(SERVICE, f"{name}TimestampMonotonic")) for name in ("ExecMainStart", "ActiveEnter")
    )
    assert 0 < begun < ready
    return (ready - begun) / 1e3
