# SPDX-License-Identifier: Apache-2.0
"""One user has thousands of control groups: the others' turns come in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from missiond.common import time_slice
from missiond.common.time_slice import SlicedQueue
from missiond.core.missions.missions import Sighting
from missiond.daemon.missions import user_scanner
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.scanner import MissionScanner
from missiond.host.cgroups import tree
from missiond.host.cgroups.tree import Unit
from missiond.host.processes import jobs

APPS = "user.slice/user-{}.slice/user@{}.service/app.slice"
MANY = 300
READ = 0.0001
"""Seconds that reading one control group takes."""


class Sink(MissionRegistry):
    def __init__(self) -> None:
        self.there: dict[str, Sighting] = {}

    def found(self, sighting: Sighting) -> None:
        self.there[sighting.key] = sighting

    def lost(self, key: str) -> None:
        self.there.pop(key, None)


class World:
    """`reads` counts the control groups whose processes were read."""

    def __init__(self, mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mount = mount
        self.sink = Sink()
        self.queue = SlicedQueue(0.001)
        self.scanner = MissionScanner(mount, self.sink, lambda uid: True, self.queue)
        self.reads = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        read = tree.processes_by_group

        def counted(directory: Path, depth: int = tree.DEPTH) -> Iterator[list[int]]:
            for pids in read(directory, depth):
                self.reads += 1
                yield pids

        monkeypatch.setattr(tree, "processes_by_group", counted)
        # a slice is as many reads on any machine
        monkeypatch.setattr(time_slice, "time", SimpleNamespace(monotonic=lambda: self.reads * READ))

    def start(self) -> int:
        process = subprocess.Popen(["sleep", "60"], process_group=0)
        self._processes.append(process)
        return process.pid

    def end(self, pid: int) -> None:
        process = next(each for each in self._processes if each.pid == pid)
        process.kill()
        process.wait()

    def unit(self, name: str, *pids: int, uid: int = 1000) -> Unit:
        path = f"{APPS.format(uid, uid)}/{name}"
        directory = self.fill(self.mount / path, *pids)
        return Unit(path, name, uid, directory.stat().st_ino)

    def fill(self, directory: Path, *pids: int) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return directory

    def crowd(self, count: int, uid: int = 1000) -> list[Unit]:
        """Terminals in which nothing runs that is alive."""
        return [self.unit(f"vte-spawn-{number}.scope", uid=uid) for number in range(count)]

    async def until(self, condition: Callable[[], bool]) -> int:
        """Return the most control groups that were read in one turn of the loop until then."""
        most = 0
        while not condition():
            before = self.reads
            await asyncio.sleep(0)
            most = max(most, self.reads - before)
        return most

    async def quiet(self) -> int:
        return await self.until(lambda: not len(self.queue))

    def close(self) -> None:
        self.scanner.close()
        self.queue.close()
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(jobs, "FORKED", 0.0)
    monkeypatch.setattr(user_scanner, "DELAY", 0.0)
    made = World(tmp_path, monkeypatch)
    yield made
    made.close()


async def test_terminals_are_looked_at_a_few_at_a_time(world: World) -> None:
    for unit in world.crowd(MANY):
        world.scanner.populated(unit, frozen=False)
    assert world.reads < MANY // 3
    assert await world.quiet() < MANY // 3
    assert world.reads == MANY
    world.scanner.programs_started()
    assert await world.until(lambda: world.reads == 2 * MANY) < MANY // 3
    world.scanner.look_again()
    assert await world.quiet() < MANY // 3
    assert world.reads == 3 * MANY


async def test_groups_within_one_are_looked_at_a_few_at_a_time(world: World) -> None:
    """In a session, in a terminal, and in a program of its own."""
    sleeping = world.start()
    for name in ("session-3.scope", "vte-spawn-1.scope", "app-x-1.scope"):
        unit = world.unit(name)
        for number in range(MANY):
            world.fill(world.mount / unit.path / f"c{number}")
        world.fill(world.mount / unit.path / "last", sleeping)
        world.scanner.populated(unit, frozen=False)
    assert await world.quiet() < MANY // 3
    assert [seen.leader.pid for seen in world.sink.there.values()] == [sleeping] * 3


async def test_another_users_program_is_found_meanwhile(world: World) -> None:
    for unit in world.crowd(MANY):
        world.scanner.populated(unit, frozen=False)
    pid = world.start()
    world.scanner.populated(world.unit("app-b-1.scope", pid, uid=1001), frozen=False)
    await world.until(lambda: bool(world.sink.there))
    assert world.reads < MANY
    [seen] = world.sink.there.values()
    assert (seen.uid, seen.leader.pid) == (1001 if os.getuid() == 0 else seen.uid, pid)


async def test_another_users_job_ends_meanwhile(world: World) -> None:
    """Nor does a rest after much work of one user keep the others waiting."""
    session = world.unit("session-7.scope", pid := world.start(), uid=1001)
    world.scanner.populated(session, frozen=False)
    await world.quiet()
    [seen] = world.sink.there.values()
    for unit in world.crowd(MANY):
        world.scanner.populated(unit, frozen=False)
    world.scanner.programs_started()
    await world.until(lambda: world.reads > MANY // 3)
    world.end(pid)
    world.fill(world.mount / session.path)
    world.scanner.leader_exited(seen)
    await world.until(lambda: not world.sink.there)
    assert world.reads < MANY


async def test_a_unit_that_ends_while_it_is_looked_at_is_never_told_of(world: World) -> None:
    pids = [world.start() for _ in range(20)]
    session = world.unit("session-3.scope", *pids)
    world.queue.add(lambda: iter([None] * 3))  # so that the look waits
    world.scanner.populated(session, frozen=False)
    await world.until(lambda: bool(world.sink.there))
    world.scanner.ended(session)
    await world.quiet()
    assert world.sink.there == {}


async def test_an_exit_while_it_is_looked_at_is_seen(world: World) -> None:
    pids = [world.start() for _ in range(20)]
    session = world.unit("session-3.scope", *pids)
    world.scanner.populated(session, frozen=False)
    await world.until(lambda: len(world.sink.there) == 20)
    await world.quiet()
    seen = next(seen for seen in world.sink.there.values() if seen.leader.pid == pids[0])
    world.scanner.look_again()
    world.end(pids[0])
    world.fill(world.mount / session.path, *pids[1:])
    world.scanner.leader_exited(seen)
    await world.until(lambda: len(world.sink.there) == 19)


async def test_a_unit_is_waited_for_once(world: World) -> None:
    [*units] = world.crowd(MANY)
    for _ in range(5):
        for unit in units:
            world.scanner.populated(unit, frozen=False)
    assert len(world.queue) <= MANY + 1
    await world.quiet()
    assert world.reads <= 2 * MANY


async def test_the_processes_of_one_mission_are_read_a_few_at_a_time(world: World) -> None:
    """As for its snapshot, and before it is ended."""
    sleeping = world.start()
    unit = world.unit("app-x-1.scope", sleeping)
    for number in range(MANY):
        world.fill(world.mount / unit.path / f"c{number}")
    world.scanner.populated(unit, frozen=False)
    await world.quiet()
    [seen] = world.sink.there.values()
    reads = world.reads
    members = asyncio.ensure_future(world.queue.result(world.scanner.members(seen), seen.uid))
    assert await world.until(members.done) < MANY // 3
    assert world.reads > reads + MANY
    stats, directory = await members
    assert [stat.pid for stat in stats] == [sleeping]
    assert directory == world.mount / unit.path
