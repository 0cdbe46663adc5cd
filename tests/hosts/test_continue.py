# SPDX-License-Identifier: Apache-2.0
"""Missions go on at another host, there and back, and whatever fails on the way exactly one of them runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hosts.client import main_pid
from hosts.continuing import (
    HERE,
    SLOW,
    UNAWARE,
    UNITS,
    Going,
    count,
    counted,
    end_all,
    listed,
    of,
    running,
    settle,
    wait,
)
from hosts.devices import AGENT, UNIT, missionctl
from hosts.lan import Lan
from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS
from hosts.two import Two, befriended

pytestmark = pytest.mark.timeout(240, func_only=True)
RATE = "8mbit"
LARGE = ("--state", "2000000")
"""Two seconds of it on a slow network."""
FAILED = 16300501


TABLE: list[tuple[str, str]] = []


@pytest.fixture(scope="module")
def both(pair: tuple[Lan, Host, Host]) -> Iterator[Two]:
    """Trusting each other with everything; alice has programs that can go on."""
    yield befriended(*pair)
    print("\n\nwhat failed, and when".ljust(60), "what was seen")
    for what, seen in TABLE:
        print(what.ljust(58), seen)


@pytest.fixture
def hosts(both: Two) -> Iterator[Two]:
    """With nothing of alice's running, before and after."""
    end_all(both.hosts)
    yield both
    settle(both.hosts)
    end_all(both.hosts)
    for host in both.hosts:
        for unit in (AGENT, UNIT):
            assert "Traceback" not in host.journal(unit)
            assert "internal error" not in host.journal(unit)


def push(it: Two, which: object, **want: object) -> Going:
    return Going(it.one, it.first, it.second, which, **want)


def test_there_and_back(hosts: Two) -> None:
    """Pushed there, pushed back from there, fetched and fetched back: it counts on, and runs once."""
    first = count(hosts.one)
    for _ in range(3):
        seen = int(first.stdout.readline())
    going = push(hosts, of(hosts.one), why="test")
    assert going.end() == (0, "")
    assert hosts.where() == (0, 1)
    wait(hosts.two, lambda: counted(hosts.two), "no count")
    assert seen <= counted(hosts.two)[0] <= seen + 2
    mission = of(hosts.two)
    (about,) = hosts.two.call(*MANAGER, MISSIONS, "GetMissionInfo", "su", "", str(mission))
    assert about["origin"]["data"] == hosts.first
    assert (about["label"]["data"], about["tag"]["data"]) == ("Counter", 7)
    settle(hosts.hosts)
    assert Going(hosts.two, hosts.second, hosts.first, mission).end() == (0, "")
    assert hosts.where() == (1, 0)
    of(hosts.one)
    settle(hosts.hosts)
    assert Going(hosts.two, hosts.first, hosts.second, of(hosts.one)).end() == (0, "")
    assert hosts.where() == (0, 1)
    app = about["app-id"]["data"]
    of(hosts.two)
    settle(hosts.hosts)
    assert Going(hosts.one, hosts.second, hosts.first, app).end() == (0, "")
    assert hosts.where() == (1, 0)
    wait(hosts.one, lambda: counted(hosts.one), "no count")
    assert counted(hosts.one)[0] >= seen


def test_a_program_that_knows_nothing_of_it(hosts: Two) -> None:
    command = ["missionctl", "run", "--continuable", "--", UNAWARE, "a b", "c\nd"]
    hosts.one.spawn(["sh", "-c", 'umask 077; exec nice -n 7 "$@"', "sh", *command], user="alice")
    assert push(hosts, of(hosts.one, UNAWARE)).end() == (0, "")
    assert hosts.where(UNAWARE) == (0, 1)
    [pid] = running(hosts.two, UNAWARE)
    assert "Umask:\t0077" in hosts.two.run(["cat", f"/proc/{pid}/status"]).stdout
    assert hosts.two.run(["ps", "--no-headers", "-o", "nice", str(pid)]).stdout.strip() == "7"
    wait(hosts.two, lambda: "a b\nc\nd" in hosts.two.journal(None, "_UID=1000"), "its arguments")


def test_the_home_has_another_name_there(hosts: Two) -> None:
    users, home = "s,:/home/alice:,:/var/home/alice:,", "/var/home/alice/my src"
    hosts.one.run(["mkdir", "-p", "/home/alice/my src"], user="alice")
    hosts.two.run(["install", "-d", "-o", "alice", "/var/home/alice", home])
    hosts.two.run(["sed", "-i", users, "/etc/passwd"])
    try:
        command = f"cd '/home/alice/my src'; exec missionctl run --continuable -- {UNAWARE}"
        hosts.one.spawn(["sh", "-c", command], user="alice")
        assert push(hosts, of(hosts.one, UNAWARE)).end() == (0, "")
        [pid] = running(hosts.two, UNAWARE)
        assert hosts.two.run(["readlink", f"/proc/{pid}/cwd"]).stdout.strip() == home
    finally:
        hosts.two.run(["sed", "-i", "s,:/var/home/alice:,:/home/alice:,", "/etc/passwd"])
        end_all(hosts.hosts)
        hosts.two.run(["rm", "-r", "/var/home/alice"])


@pytest.mark.parametrize(("fill", "code", "reason"), [("0", 0, ""), ("2000", FAILED, "no space left")])
def test_a_small_runtime_directory(hosts: Two, fill: str, code: int, reason: str) -> None:
    """1 MB is enough for a program without state; where it is full, it goes on where it was."""
    place = "/run/user/1000"
    hosts.two.run(["mount", "-o", "remount,size=1M", place])
    hosts.two.run(["dd", "if=/dev/zero", f"of={place}/fill", "bs=1k", f"count={fill}"], check=False)
    try:
        hosts.one.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="alice")
        found = push(hosts, of(hosts.one, UNAWARE)).end()
        assert (found[0], reason in found[1]) == (code, True), found
        assert hosts.where(UNAWARE) == ((1, 0) if code else (0, 1))
    finally:
        hosts.two.run(["rm", f"{place}/fill"])
        hosts.two.run(["mount", "-o", "remount,size=64M", place])


def test_the_source_stays_where_it_is_to(hosts: Two) -> None:
    count(hosts.one)
    assert push(hosts, of(hosts.one), **{"keep-source": True}).end() == (0, "")
    assert hosts.where() == (1, 1)


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [(["--refuse"], FAILED, "refused"), (["--hang"], FAILED, "did not answer in time")],
)
def test_a_program_that_does_not_want_to(hosts: Two, words: list[str], code: int, reason: str) -> None:
    count(hosts.one, *words)
    found = push(hosts, of(hosts.one)).end()
    assert (found[0], reason in found[1]) == (code, True)
    assert hosts.where() == (1, 0)
    TABLE.append((f"the application {words[0][2:]}s", f"{found[0]}, runs at the source"))


def test_a_program_that_dies_while_asked(hosts: Two) -> None:
    count(hosts.one, "--hang")
    going = push(hosts, of(hosts.one))
    going.until("asked")
    hosts.one.run(["kill", "-KILL", *map(str, running(hosts.one))])
    code, reason = going.end()
    assert (code, hosts.where()) == (FAILED, (0, 0))
    TABLE.append(("the application dies while it is asked", f"{code}, {reason}"))


def test_what_is_not_there(hosts: Two) -> None:
    """No program, no mission, no device, nobody who may."""
    hosts.one.run(["cp", UNAWARE, "/usr/local/bin/lonely"])
    hosts.one.spawn(["missionctl", "run", "--continuable", "--", "/usr/local/bin/lonely"], user="alice")
    mission = of(hosts.one, UNAWARE)
    assert push(hosts, mission).end()[0] == 16300503
    assert hosts.where(UNAWARE) == (1, 0)
    assert push(hosts, 999999).end()[0] == 16300502
    assert push(hosts, "no.such.app").end()[0] == 16300507
    assert Going(hosts.one, hosts.second, hosts.first, 999999).end()[0] == 16300502
    assert Going(hosts.one, "c" * 64, hosts.second, mission).end()[0] == 16300505
    assert Going(hosts.one, hosts.first, "c" * 64, mission).end()[0] == 401
    assert Going(hosts.one, hosts.first, "x", mission).end()[0] == 401
    for source, target in (("", ""), ("", hosts.second), (hosts.first, "")):
        assert Going(hosts.one, source, target, mission).end()[0] == 401
        assert Going(hosts.one, source, target, "no.such.app").end()[0] == 401
    assert hosts.where(UNAWARE) == (1, 0)
    assert push(hosts, mission, long="x" * 100_000).end()[0] == 401
    denied = ["ContinueMission", "ssua{sv}", hosts.first, hosts.second, str(mission), "0"]
    done = hosts.one.busctl("call", *MANAGER, MISSIONS, *denied, user="alice", check=False)
    assert "201: " in done.stderr


def test_a_host_that_does_not_want_it(hosts: Two) -> None:
    missionctl(hosts.two, "peers", "disallow", hosts.first, "continue")
    try:
        count(hosts.one)
        code, reason = push(hosts, of(hosts.one)).end()
        here, there = hosts.one.name, hosts.two.name
        words = (
            f"{there} does not let {here} start programs; on {there}: missionctl peers allow {here} continue"
        )
        assert (code, reason, hosts.where()) == (FAILED, words, (1, 0))
    finally:
        missionctl(hosts.two, "peers", "allow", hosts.first, "continue")


def test_once_at_a_time(hosts: Two) -> None:
    hosts.lan.slow(hosts.two.name, RATE)
    try:
        count(hosts.one, *LARGE)
        mission = of(hosts.one)
        going = push(hosts, mission)
        going.until("sending")
        assert push(hosts, mission).end()[0] == 16300506
        assert going.end() == (0, "")
    finally:
        hosts.lan.slow(hosts.two.name, None)
    assert hosts.where() == (0, 1)
    done = [said[1] for said in going.said if said[0] == "sending"]
    assert done == sorted(done)


def test_a_target_that_can_t_start_it(hosts: Two) -> None:
    """Its interpreter is not there, which only its start shows."""
    hosts.two.run(["tee", UNAWARE], stdin="#!/no/such/interpreter\n")
    try:
        hosts.one.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="alice")
        code, reason = push(hosts, of(hosts.one, UNAWARE)).end()
        assert (code, "can't be executed" in reason) == (FAILED, True), reason
        wait(hosts.one, lambda: hosts.where(UNAWARE) == (1, 0), "it does not run again")
        TABLE.append(("the target can't start it", f"{code}, runs at the source again"))
    finally:
        hosts.two.run(["tee", UNAWARE], stdin=(HERE.parent / "standins/programs/unaware.sh").read_text())


def test_its_task_goes_along(hosts: Two) -> None:
    """Where it goes on the host stays awake, and where it was it may sleep."""
    run = ["missionctl", "run", "--continuable", "--mode", "dataTransfer", "--title", "big copy"]
    hosts.one.spawn([*run, "--context", "x", "--", UNAWARE], user="alice")
    mission = of(hosts.one, UNAWARE)
    hosts.one.wait_for(lambda: len(hosts.one.locks()) == 1)
    assert push(hosts, mission).end() == (0, "")
    assert (hosts.one.locks(), len(hosts.two.locks())) == ([], 1)
    (tasks,) = hosts.two.tasks("GetAllContinuousTasks", "b", "true", user="alice")
    [task] = [{key: value["data"] for key, value in row.items()} for row in tasks]
    assert (task["bg-modes"], task["context"], task["title"]) == (["dataTransfer"], "x", "big copy")
    assert [task["pid"]] == running(hosts.two, UNAWARE)
    settle(hosts.hosts)
    back = Going(hosts.two, hosts.second, hosts.first, of(hosts.two, UNAWARE), **{"with-tasks": False})
    assert back.end() == (0, "")
    assert (hosts.one.locks(), hosts.two.locks()) == ([], [])


def test_a_task_that_is_refused(hosts: Two) -> None:
    """It is said, and keeps the program back only where that was wanted."""
    conf = "/etc/missiond/missiond.conf.d/few.conf"
    hosts.two.run(["tee", conf], stdin="[Continuous]\nMaxTasksPerUser=1\n")
    hosts.two.systemctl("reload", AGENT)
    other = hosts.two.spawn(["missionctl", "run", "--", "sleep", "500"], user="alice")
    try:
        hosts.two.wait_for(lambda: len(hosts.two.locks()) == 1)
        hosts.one.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="alice")
        mission = of(hosts.one, UNAWARE)
        code, reason = push(hosts, mission, **{"require-tasks": True}).end()
        assert (code, "can't all go along" in reason, hosts.where(UNAWARE)) == (FAILED, True, (1, 0)), reason
        code, reason = push(hosts, mission).end()
        assert (code, "which is the most" in reason, hosts.where(UNAWARE)) == (0, True, (0, 1)), reason
    finally:
        other.close()
        hosts.two.run(["rm", conf])
        hosts.two.systemctl("reload", AGENT)


@pytest.mark.parametrize("ends", ["sleep 0.3; exit 7", "sleep 1; kill -SEGV $$", "exec cat", "exit 0"])
def test_a_program_that_ends_a_moment_after_its_start(hosts: Two, ends: str) -> None:
    """Something that it needs is not there, such as a library or a terminal."""
    hosts.two.run(["tee", UNAWARE], stdin=f"#!/bin/sh\n{ends}\n")
    try:
        hosts.one.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="alice")
        code, reason = push(hosts, of(hosts.one, UNAWARE)).end()
        assert (code, "ended" in reason) == (FAILED, True), reason
        assert ("exit status 7" in reason) == ("exit 7" in ends)
        wait(hosts.one, lambda: hosts.where(UNAWARE) == (1, 0), "it does not run again")
        settle(hosts.hosts)
        failed = [*UNITS, "list-units", "--failed", "--plain", "--no-legend", "app-missiond-*"]
        assert hosts.two.run(failed, user="alice").stdout == ""
        TABLE.append((f"it ends soon there: {ends}", f"{code}, runs at the source again"))
    finally:
        hosts.two.run(["tee", UNAWARE], stdin=(HERE.parent / "standins/programs/unaware.sh").read_text())


def test_a_program_that_fails_later_is_not_left_in_the_list_of_those(hosts: Two) -> None:
    hosts.one.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="alice")
    assert push(hosts, of(hosts.one, UNAWARE)).end() == (0, "")
    settle(hosts.hosts)
    hosts.two.run(["kill", "-SEGV", *map(str, running(hosts.two, UNAWARE))])
    units = [*UNITS, "list-units", "--all", "--plain", "--no-legend", "app-missiond-*"]
    wait(hosts.two, lambda: hosts.two.run(units, user="alice").stdout == "", "its unit is there still")


def test_a_disk_that_is_full(hosts: Two) -> None:
    hosts.two.systemctl("stop", AGENT)
    place = "/var/lib/missiond/handovers"
    hosts.two.run(["mount", "-t", "tmpfs", "-o", "size=1M,mode=700,uid=missiond", "tmpfs", place])
    hosts.two.systemctl("start", AGENT)
    try:
        wait(hosts.one, lambda: not listed(hosts.one), "in flight")
        count(hosts.one, *LARGE)
        code, reason = push(hosts, of(hosts.one)).end()
        assert (code, hosts.where()) == (FAILED, (1, 0))
        TABLE.append(("the target's disk is full", f"{code}, runs at the source: {reason}"))
    finally:
        hosts.two.systemctl("stop", AGENT)
        hosts.two.run(["umount", place])
        hosts.two.systemctl("start", AGENT)


@pytest.mark.parametrize("phase", ["offered", "asked", "sending", "stopping", "committed"])
@pytest.mark.parametrize("which", ["source", "target"])
def test_an_agent_that_is_killed(hosts: Two, phase: str, which: str) -> None:
    one_runs_after(hosts, phase, which, AGENT)


@pytest.mark.parametrize("phase", ["sending", "committed"])
@pytest.mark.parametrize("which", ["source", "target"])
def test_a_peer_unit_that_is_killed(hosts: Two, phase: str, which: str) -> None:
    one_runs_after(hosts, phase, which, UNIT)


def one_runs_after(it: Two, phase: str, which: str, unit: str) -> None:
    """Kill it in this phase, as the caller at the source sees that."""
    host = it.one if which == "source" else it.two
    pid = main_pid(host, unit)
    it.lan.slow(it.two.name, RATE)
    try:
        count(it.one, *LARGE)
        going = push(it, of(it.one))
        going.until(phase)
        host.run(["kill", "-KILL", pid])
        code = verdict(it, going, f"{unit} killed at the {which}, {phase}")
        if unit == UNIT and code:
            raise AssertionError(
                f"{it.one.journal(AGENT)}\n\n{it.two.journal(AGENT)}\n{it.two.journal(UNIT)}"
            )
    finally:
        it.lan.slow(it.two.name, None)


def verdict(it: Two, going: Going, what: str) -> int:
    """See that one runs, that the caller was told once and the truth, and that its state is whole."""
    code, reason = going.end()
    settle(it.hosts)
    where = it.where()
    assert where == ((0, 1) if code == 0 else (1, 0)), (what, code, reason)
    host = it.two if code == 0 else it.one
    assert "damaged" not in host.journal(None, "_UID=1000")
    place = "target" if code == 0 else "source"
    TABLE.append((what, f"{code}, runs at the {place}" + (f": {reason}" if code else "")))
    return code


@pytest.mark.parametrize("phase", ["asked", "sending", "stopping"])
def test_a_cable_that_is_pulled_out(hosts: Two, phase: str) -> None:
    hosts.lan.slow(hosts.two.name, RATE)
    try:
        count(hosts.one, *LARGE)
        going = push(hosts, of(hosts.one))
        going.until(phase)
        hosts.lan.cable(hosts.two.name, plugged=False)
        time.sleep(1.5)  # as long as the cable is out
        hosts.lan.cable(hosts.two.name, plugged=True)
        verdict(hosts, going, f"cable out for 1.5 s, {phase}")
    finally:
        hosts.lan.slow(hosts.two.name, None)


def test_reclaimed(hosts: Two) -> None:
    """In doubt since the other host is gone: listed on both, stopped, until a person wants it back."""
    hosts.one.spawn(["missionctl", "run", "--continuable", "--", SLOW], user="alice")
    going = push(hosts, of(hosts.one, SLOW))
    going.until("stopping")
    hosts.two.systemctl("stop", UNIT)
    try:
        going.until("committed")
        assert hosts.where(SLOW) == (0, 0)
        [row], [there] = listed(hosts.one), listed(hosts.two)
        assert (row["in-doubt"], row["can-reclaim"], there["in-doubt"]) == (True, True, True)
        assert (row["role"], row["app-id"], row["device-id"]) == ("source", "slow", hosts.second)
        assert (there["role"], there["phase"], there["transfer"]) == ("target", "prepared", row["transfer"])
        hosts.one.call(*MANAGER, MISSIONS, "ReclaimContinuation", "s", row["transfer"])
        code, reason = going.end()
        assert (code, reason) == (FAILED, "it was reclaimed")
        wait(hosts.one, lambda: hosts.where(SLOW) == (1, 0), "it does not run again")
    finally:
        hosts.two.systemctl("start", UNIT)
    settle(hosts.hosts)
    assert hosts.where(SLOW) == (1, 0)
    TABLE.append(("the target is gone, and the mission is reclaimed", f"{code}, runs at the source"))
