# SPDX-License-Identifier: Apache-2.0
"""Whether a lock is ever missing, or there twice, while the daemon is restarted and killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench.board import Board, Goal, Row
from bench.fleet import SERVICE, Fleet, Kind, script
from hosts.client import request, sleeper, start
from hosts.machine import Host
from hosts.spawned import Spawned

TIMES = 50
RATE = 200
"""Samples a second, at least."""


@pytest.mark.timeout(420, func_only=True)
def test_no_gap(fleet: Fleet, board: Board, kind: Kind) -> None:
    """One continuous and one transient task, looked at the whole time."""
    host = fleet.host(kind)
    for name, end in (("restarts", _restart), ("kill -9", _kill)):
        owner = sleeper(host)
        start(host, owner, "dataTransfer")
        request(host, owner, reason="bench")
        reasons = [lock.why for lock in host.locks()]
        assert len(set(reasons)) == 2
        sampler = host.spawn(script("sampler", *reasons))
        seen = _watch(host, sampler, end)
        _report(board, kind, name, seen)
        assert min(_watch(host, sampler, _stop_and_start, 1)["missing"]) > 0, "a gap would not have been seen"
        sampler.close()
        owner.close()
        host.wait_for(lambda: host.locks() == [])


def _watch(
    host: Host, sampler: Spawned, end: Callable[[Host], None], times: int = TIMES
) -> dict[str, list[float]]:
    """Do it again and again and return what was seen: samples at each number of locks, and how they came."""
    _ask(sampler)
    for _ in range(times):
        end(host)
    said = _ask(sampler)
    rate = said["samples"] / said["seconds"]
    assert rate >= RATE, f"only {rate:.0f} samples a second"
    counts = [dict(counted) for counted in said["counts"]]
    return {
        "missing": [counted.get(0, 0) for counted in counts],
        "most": [max(counted) for counted in counts],
        "twice": [sum(n for locks, n in counted.items() if locks > 1) for counted in counts],
        "rate": [rate],
        "longest": [said["longest"]],
    }


def _ask(sampler: Spawned) -> Any:
    sampler.stdin.write("\n")
    sampler.stdin.flush()
    return json.loads(sampler.stdout.readline())


def _report(board: Board, kind: Kind, name: str, seen: dict[str, list[float]]) -> None:
    note = f"{seen['rate'][0]:.0f} Hz, longest pause {seen['longest'][0]:.0f} ms"
    twice = f"more than one in {sum(seen['twice']):.0f} samples"
    board.add(
        Row(*kind, f"samples without lock, {TIMES} {name}", sum(seen["missing"]), "", Goal(0), note=note),
        Row(*kind, f"most locks of one task, {TIMES} {name}", max(seen["most"]), "", Goal(1), note=twice),
    )


def _restart(host: Host) -> None:
    host.systemctl("restart", SERVICE)


def _stop_and_start(host: Host) -> None:
    """An end that does leave a gap: what is stopped holds nothing."""
    host.systemctl("stop", SERVICE)
    host.systemctl("start", SERVICE)


def _kill(host: Host) -> None:
    before = int(host.show(SERVICE, "NRestarts"))
    host.systemctl("kill", "--signal=KILL", SERVICE)
    host.wait_for(lambda: int(host.show(SERVICE, "NRestarts")) > before)
    host.wait_active()
