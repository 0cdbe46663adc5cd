# SPDX-License-Identifier: Apache-2.0
"""Missions: how soon they are seen, what a list of them costs, and what they cost at rest."""

from __future__ import annotations

import json
from statistics import median, quantiles

import pytest

from bench.board import Baseline, Board, Goal, Row
from bench.fleet import KINDS, SERVICE, Fleet, Kind, at_once, daemon, script, settle
from bench.test_rest import rest
from hosts.client import main_pid
from hosts.machine import Host
from hosts.spawned import Spawned

JOBS = 300
MANY = 1000
LISTS = 100
STORM, STORM_SECONDS = 5000, 10


def in_session(host: Host, program: str, *arguments: str) -> Spawned:
    """One of the programs, in a login session of alice's."""
    run = [
        "systemd-run",
        "--quiet",
        "--collect",
        "--pipe",
        "--wait",
        "--uid=alice",
        "--property=PAMName=login",
    ]
    return host.spawn([*run, "--", *script(program, *arguments)])


def test_start_and_exit(fleet: Fleet, board: Board, kind: Kind) -> None:
    """Jobs of a session: started until told of and listed, killed until told of and no longer listed."""
    host = fleet.host(kind)
    times = json.loads(in_session(host, "jobs", str(JOBS)).stdout.readline())
    assert len(times["start"]) == len(times["exit"]) == JOBS
    for what, most in (("start", 50), ("exit", 20)):
        cuts = quantiles(times[what], n=100)
        for name, place in (("p50", 49), ("p99", 98)):
            row = f"job {what} to signal and list {name}"
            goal = Goal(most) if name == "p99" or what == "exit" else None
            board.add(Row(*kind, row, cuts[place] / 1e6, "ms", goal, digits=1))


def test_storm(fleet: Fleet, board: Board, kind: Kind) -> None:
    """Five thousand programs in ten seconds, of which fifty stay."""
    host = fleet.host(kind)
    arguments = (str(STORM), str(STORM_SECONDS), str(main_pid(host, SERVICE)))
    seen = json.loads(in_session(host, "storm", *arguments).stdout.readline())
    assert seen["lost"] == 0, seen
    note = f"{seen['started']} started in {seen['seconds']:.1f} s, {seen['staying']} stay, 0 lost"
    board.add(
        Row(*kind, "agent's share of a processor in a storm", seen["share"] * 100, "%", Goal(50), note=note),
        Row(*kind, "caught up after a storm", seen["caught_up_ms"], "ms", Goal(1000)),
    )


@pytest.mark.timeout(600, func_only=True)
def test_a_thousand(fleet: Fleet, board: Board) -> None:
    """All hosts at rest at the same time; lists one host after the other."""
    hosts = {kind: fleet.host(kind) for kind in KINDS}
    crowds = {}
    for kind, host in hosts.items():
        crowds[kind] = in_session(host, "crowd", str(MANY), str(main_pid(host, SERVICE)))
        assert crowds[kind].stdout.readline() == "there\n"
        settle(host)
    at_once(lambda kind: _rest(hosts[kind], board, kind), KINDS)
    for kind in KINDS:
        _lists(crowds[kind], board, kind)
    for kind in KINDS:
        crowds[kind].close()


def _rest(host: Host, board: Board, kind: Kind) -> None:
    rss = daemon(host, "status")["VmRSS"] * 1024 / 1e6
    board.add(Row(*kind, f"RSS, {MANY} missions", rss, "MB", Goal(35), digits=1))
    board.add(rest(host, kind, f"{MANY} missions"))


def _lists(crowd: Spawned, board: Board, kind: Kind) -> None:
    crowd.stdin.write(f"{LISTS}\n")
    crowd.stdin.flush()
    times = json.loads(crowd.stdout.readline())
    assert len(times["call"]) == len(times["ps"]) == LISTS
    took, ps = median(times["call"]) / 1e6, median(times["ps"]) / 1e6
    cpu = times["call_cpu"] + times["own_cpu"]
    board.add(
        Row(*kind, f"list of {MANY} p50", took, "ms", Goal(1, times=True), Baseline("ps -e", ps), digits=1),
        Row(
            *kind,
            f"CPU of a list of {MANY}",
            cpu,
            "ms",
            None,
            Baseline("ps -e", times["ps_cpu"]),
            f"agent {times['call_cpu']:.1f}",
            digits=1,
        ),
    )
