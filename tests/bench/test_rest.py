# SPDX-License-Identifier: Apache-2.0
"""Memory, and how often the daemon wakes when nothing happens; with no task and with many."""

from __future__ import annotations

import time

import pytest

from bench.board import Board, Goal, Row
from bench.fleet import KINDS, Fleet, Kind, at_once, daemon, process, script, settle, switches
from hosts.machine import MANAGER, Host

MANY = 1000
REST = 150.0
"""Seconds: the time from one word to the watchdog to the next, so that each of them is counted."""


@pytest.mark.timeout(600, func_only=True)
def test_rest(fleet: Fleet, board: Board) -> None:
    """All hosts at the same time: at rest they are not in each other's way."""
    hosts = {kind: fleet.host(kind) for kind in KINDS}
    at_once(lambda kind: _rest(hosts[kind], board, kind, "idle", 30), KINDS)
    holders = {}
    for kind, host in hosts.items():
        holders[kind] = host.spawn(script("hold", str(MANY)), user="alice")
        assert holders[kind].stdout.readline() == "held\n"
        assert len(host.locks()) == MANY
        settle(host)
    at_once(lambda kind: _rest(hosts[kind], board, kind, f"{MANY} tasks", 40), KINDS)
    for kind, host in hosts.items():
        holders[kind].close()
        host.wait_for(lambda host=host: host.locks() == [])  # type: ignore[misc]
        settle(host)
        _memory(host, board, kind, "afterwards", None)


def _rest(host: Host, board: Board, kind: Kind, when: str, goal: float) -> None:
    _memory(host, board, kind, when, goal)
    board.add(rest(host, kind, when))


def rest(host: Host, kind: Kind, when: str) -> Row:
    """How often a minute the daemon is switched to or from while nothing happens on the host."""
    directory = process(host)
    before = switches(directory)
    time.sleep(REST)  # what is measured, not a wait for something
    count, own = (now - then for now, then in zip(switches(directory), before, strict=True))
    host.busctl("call", *MANAGER, "org.freedesktop.DBus.Peer", "Ping")
    assert switches(directory)[0] > before[0] + count, "a switch would not have been seen"
    note = f"in {REST:.0f} s it went to sleep {own}x and was interrupted by others {count - own}x"
    name = f"context switches a minute, {when}"
    return Row(*kind, name, count * 60 / REST, "", Goal(1), note=note, digits=1)


def _memory(host: Host, board: Board, kind: Kind, when: str, goal: float | None) -> None:
    """RSS in MB of 10^6 bytes, which is what is wanted; the rest as a remark."""
    resident, parts = daemon(host, "status"), daemon(host, "smaps_rollup")
    rss = resident["VmRSS"] * 1024
    note = (
        f"{rss / 2**20:.1f} MiB, Pss {parts['Pss'] * 1.024e-3:.1f} MB, "
        f"anonymous {resident['RssAnon'] * 1.024e-3:.1f} MB, peak {resident['VmHWM'] * 1.024e-3:.1f} MB"
    )
    wanted = None if goal is None else Goal(goal)
    board.add(Row(*kind, f"RSS, {when}", rss / 1e6, "MB", wanted, note=note, digits=1))
