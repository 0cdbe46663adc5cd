# SPDX-License-Identifier: Apache-2.0
"""Missions that are told to end, with real processes; signals are sent with the test's own rights."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from missiond.core.missions.missions import Leader, Mission, Registration, Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.terminate import Termination
from missiond.degraded import Degraded
from missiond.errors import MissionNotFound, PermissionDenied, SystemServiceFailed
from missiond.helper.own_rights import OwnRights
from missiond.helper.requests import Kill, Request, Signal
from missiond.host.helper import HelperMissing
from missiond.host.processes import jobs
from missiond.host.processes import stat as process_stat
from missiond.host.processes.processes import ProcessWatch
from missiond.host.processes.stat import Stat
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore

STUBBORN = "trap '' TERM; sleep 60 & echo; wait; wait"
FORKING = "trap 'sleep 61 & echo more' TERM; sleep 60 & echo; wait; wait; wait"
Started = list[subprocess.Popen[bytes]]


class Recorder(OwnRights):
    """Remembers what it was asked for, or is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Request] = []
        self.missing = False

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        if self.missing:
            raise HelperMissing(OSError("gone"))
        self.asked += requests
        return await super().ask(requests)


class World:
    """Missions, what ends them, and a family of processes for each."""

    def __init__(self, directory: Path) -> None:
        counters = Counters(directory / "counters")
        self.helper = Recorder()
        self.missions = MissionRegistry(
            RecordStore(directory), counters, ProcessWatch(), Degraded(), Shares(50)
        )
        self.termination = Termination(self.missions, self.members, Path("/"), self.helper, 0)
        self.directory: Path | None = None

    async def members(self, seen: Sighting) -> tuple[list[Stat], Path | None]:
        return jobs.family(seen.leader.pid, seen.leader.start_ticks), self.directory

    def close(self) -> None:
        self.termination.close()
        self.missions.close()


@pytest.fixture
async def world(tmp_path: Path) -> Iterator[World]:  # type: ignore[misc]
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def started() -> Iterator[Started]:
    """Processes of the test, ended with all that they started."""
    processes: Started = []
    yield processes
    for process in processes:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def start(started: Started, *command: str) -> subprocess.Popen[bytes]:
    """Start it and wait for its first line, where it is a shell."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    started.append(process)
    if command[0] == "sh":
        assert process.stdout is not None
        process.stdout.readline()
    return process


def registered(world: World, pid: int) -> Mission:
    return world.missions.register(pid, Registration())


async def all_gone(family: list[Stat]) -> None:
    while jobs.read_live(stat.pid for stat in family):
        await asyncio.sleep(0.001)


async def ended(world: World, mission: Mission) -> None:
    while mission.id in world.missions.table:
        await asyncio.sleep(0.001)


async def test_what_hears_it_ends_at_once(world: World, started: Started) -> None:
    world.termination.grace_ms = 60_000
    process = start(started, "sleep", "60")
    mission = registered(world, process.pid)
    await world.termination.end(mission)
    await ended(world, mission)
    assert process.wait() == -signal.SIGTERM


async def test_one_that_is_locked_while_its_processes_are_read(world: World, started: Started) -> None:
    process = start(started, "sleep", "60")
    mission = registered(world, process.pid)
    found = world.members

    async def locked_meanwhile(seen: Sighting) -> tuple[list[Stat], Path | None]:
        world.missions.lock(mission, locked=True)
        return await found(seen)

    world.termination._members = locked_meanwhile
    with pytest.raises(PermissionDenied, match="locked"):
        await world.termination.end(mission)
    assert mission.kill_at is None
    assert process.poll() is None


async def test_what_does_not_is_killed_after_the_grace_time(world: World, started: Started) -> None:
    world.termination.grace_ms = 50
    process = start(started, "sh", "-c", STUBBORN)
    mission = registered(world, process.pid)
    family = jobs.family(process.pid, mission.seen.leader.start_ticks)
    assert len(family) == 2
    before = time.monotonic()
    await world.termination.end(mission)
    assert mission.id in world.missions.table
    await ended(world, mission)
    assert time.monotonic() - before >= 0.05
    assert process.wait() == -signal.SIGKILL
    await all_gone(family)


async def test_children_that_do_not_are_killed_when_the_first_is_gone(world: World, started: Started) -> None:
    world.termination.grace_ms = 100
    process = start(started, "sh", "-c", "(trap '' TERM; echo; exec sleep 60) & wait")
    mission = registered(world, process.pid)
    family = jobs.family(process.pid, mission.seen.leader.start_ticks)
    await world.termination.end(mission)
    await ended(world, mission)
    assert process.wait() == -signal.SIGTERM
    assert jobs.read_live(stat.pid for stat in family)
    await all_gone(family)


async def test_what_is_started_in_the_grace_time_is_killed_as_well(world: World, started: Started) -> None:
    world.termination.grace_ms = 60_000
    process = start(started, "sh", "-c", FORKING)
    mission = registered(world, process.pid)
    await world.termination.end(mission)
    assert process.stdout is not None
    assert process.stdout.readline() == b"more\n"
    family = jobs.family(process.pid, mission.seen.leader.start_ticks)
    world.missions.end_by(mission, 1)
    world.termination.resume()
    await ended(world, mission)
    world.termination.close()
    process.poll()
    await all_gone(family)
    assert process.wait() == -signal.SIGKILL


async def test_a_lock_in_the_grace_time_spares_it(world: World, started: Started) -> None:
    process = start(started, "sh", "-c", STUBBORN)
    mission = registered(world, process.pid)
    world.termination.grace_ms = 1
    ending = asyncio.ensure_future(world.termination.end(mission))
    await asyncio.sleep(0)
    world.missions.lock(mission, locked=True)
    await ending
    await asyncio.sleep(0.05)
    assert process.poll() is None
    with pytest.raises(PermissionDenied, match="locked"):
        await world.termination.end(mission)


async def test_asked_twice_it_is_told_twice_and_dies_no_later(world: World, started: Started) -> None:
    world.termination.grace_ms = 60_000
    mission = registered(world, start(started, "sh", "-c", STUBBORN).pid)
    await world.termination.end(mission)
    when = mission.kill_at
    await world.termination.end(mission)
    assert mission.kill_at == when
    leader = mission.seen.leader
    assert world.helper.asked.count(Signal(leader.pid, leader.start_ticks, "TERM")) == 2


async def test_the_grace_time_goes_on_after_a_restart(tmp_path: Path, started: Started) -> None:
    process = start(started, "sh", "-c", STUBBORN)
    first = World(tmp_path)
    first.termination.grace_ms = 100
    mission = registered(first, process.pid)
    await first.termination.end(mission)
    first.close()
    second = World(tmp_path)
    second.missions.load()
    second.missions.finish()
    second.termination.resume()
    [again] = second.missions.table
    assert (again.id, again.kill_at) == (mission.id, mission.kill_at)
    await ended(second, again)
    assert process.wait() == -signal.SIGKILL
    second.close()


async def test_without_the_helper_nothing_is_promised(world: World, started: Started) -> None:
    mission = registered(world, start(started, "sleep", "60").pid)
    world.helper.missing = True
    with pytest.raises(SystemServiceFailed, match="missiond-helper"):
        await world.termination.end(mission)
    assert mission.kill_at is None


async def test_a_stopped_one_is_let_go_on(world: World, started: Started) -> None:
    world.termination.grace_ms = 60_000
    process = start(started, "sleep", "60")
    os.kill(process.pid, signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED)
    await world.termination.end(registered(world, process.pid))
    assert process.wait() == -signal.SIGTERM


async def test_a_process_that_only_has_the_pid_is_left_alone(world: World, started: Started) -> None:
    process = start(started, "sleep", "60")
    seen = registered(world, process.pid).seen
    world.missions.lost(seen.key)
    old = replace(seen, leader=Leader(process.pid, seen.leader.start_ticks - 1))
    mission = Mission(7, old)
    world.missions.table.add(mission)
    with pytest.raises(MissionNotFound, match="has ended"):
        await world.termination.end(mission)
    assert world.helper.asked == []
    assert process.poll() is None


@pytest.mark.parametrize("change", [{"system": True, "unit": "cron.service"}, {"uid": os.getuid() + 1}])
async def test_services_and_others_processes_are_refused(
    world: World, started: Started, change: dict[str, object]
) -> None:
    mission = registered(world, start(started, "sleep", "60").pid)
    mission.seen = replace(mission.seen, **change)  # type: ignore[arg-type]
    with pytest.raises(PermissionDenied):
        await world.termination.end(mission)
    assert world.helper.asked == []


async def test_the_agent_does_not_end_itself(world: World) -> None:
    with pytest.raises(PermissionDenied, match="runs this host"):
        await world.termination.end(registered(world, os.getpid()))
    ticks = process_stat.read(1).start_ticks
    mission = Mission(9, Sighting("process/1/1", Leader(1, ticks), os.getuid(), "init", "init", "", 0))
    world.missions.table.add(mission)
    with pytest.raises(PermissionDenied, match="runs this host"):
        await world.termination.end(mission)


async def test_a_group_is_killed_as_one_where_it_is_the_users_own(world: World, started: Started) -> None:
    """Where that fails (here there is no such group), one after the other."""
    process = start(started, "sh", "-c", STUBBORN)
    seen = registered(world, process.pid).seen
    world.missions.lost(seen.key)
    mission = Mission(3, replace(seen, key="unit/4711"))
    world.missions.table.add(mission)
    path = f"user.slice/user@{mission.uid}.service/a.scope"
    world.directory = Path("/", path)
    await world.termination.end(mission)
    await asyncio.to_thread(process.wait)
    assert Kill(4711, path) in world.helper.asked
    world.missions.table.remove(mission)
