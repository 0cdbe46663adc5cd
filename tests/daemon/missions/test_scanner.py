# SPDX-License-Identifier: Apache-2.0
"""What is found in control groups; those are directories, the processes are real."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from missiond.bus.variants import variant
from missiond.common.time_slice import SlicedQueue, at_once
from missiond.core.missions.missions import Mission, Sighting
from missiond.daemon.missions.mission_codec import dump, load
from missiond.daemon.missions.probe import of_process
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.scanner import MissionScanner
from missiond.host.cgroups.tree import Unit
from missiond.host.processes import jobs
from missiond.host.processes.procfs import ProcDirectory
from missiond.service import mission_details

SESSION = "user.slice/user-1000.slice/session-3.scope"
DAEMON = """
import os, sys
if os.fork() == 0:
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    os.setsid()
    print(flush=True)
    sys.stdin.read()
"""
SYSTEM = 99
"""The uid of nobody's."""
NAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
print(flush=True)
sys.stdin.read()
"""


class Sink(MissionRegistry):
    def __init__(self) -> None:
        self.there: dict[str, Sighting] = {}
        self.gone: list[str] = []

    def found(self, sighting: Sighting) -> None:
        self.there[sighting.key] = sighting

    def lost(self, key: str) -> None:
        self.gone.append(key)
        self.there.pop(key, None)


class World:
    def __init__(self, mount: Path) -> None:
        self.mount = mount
        self.sink = Sink()
        self.discovery = MissionScanner(mount, self.sink, lambda uid: uid != SYSTEM, SlicedQueue(60.0))
        self.processes: list[subprocess.Popen[bytes]] = []

    def group(self, path: str, *pids: int, uid: int = 1000) -> Unit:
        directory = self.mount / path
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return Unit(path, path.rpartition("/")[2], uid, directory.stat().st_ino)

    def start(self, *command: str) -> int:
        process = subprocess.Popen(
            command, process_group=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )  # a group of its own, which is ended as one
        self.processes.append(process)
        return process.pid

    def line(self) -> bytes:
        stdout = self.processes[-1].stdout
        assert stdout is not None
        return stdout.readline()

    def close(self) -> None:
        self.discovery.close()
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(jobs, "FORKED", 0.0)  # shells are what they are at once
    made = World(tmp_path)
    yield made
    made.close()


def dead() -> int:
    """A pid that was one just now."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


async def test_processes_that_exit_before_they_are_read(world: World) -> None:
    sleeping = world.start("sleep", "60")
    session = world.group(SESSION, dead(), sleeping, 0, dead())
    scope = world.group("user.slice/user-1000.slice/user@1000.service/app-x-1.scope", dead())
    world.discovery.populated(session, frozen=False)
    world.discovery.populated(scope, frozen=False)
    assert [seen.leader.pid for seen in world.sink.there.values()] == [sleeping]
    world.group(scope.path, sleeping)
    world.discovery.populated(scope, frozen=True)
    assert {seen.state for seen in world.sink.there.values()} == {"running", "frozen"}


async def test_a_group_that_vanishes_while_it_is_read(world: World) -> None:
    session = world.group(SESSION, os.getpid())
    (world.mount / SESSION / "cgroup.procs").unlink()
    (world.mount / SESSION).rmdir()
    world.discovery.populated(session, frozen=False)
    world.discovery.look_again()
    world.discovery.ended(session)
    world.discovery.ended(session)
    assert world.sink.there == {}


async def test_a_job_that_takes_the_number_of_another_is_a_new_one(world: World) -> None:
    pid = world.start("sleep", "60")
    session = world.group(SESSION, pid)
    world.discovery.populated(session, frozen=False)
    [(key, seen)] = world.sink.there.items()
    [user] = world.discovery._users.values()
    [place] = user.places.values()
    job = place.jobs[pid]
    assert job.founded is not None
    # as if this process had come in place of one that started earlier
    place.jobs[pid] = type(job)(pid, job.leader, job.founded - 1)
    assert at_once(world.discovery.members(seen)) == ([], None)
    world.discovery.look_again()
    assert world.sink.gone == [key]
    assert list(world.sink.there) == [key]
    assert [stat.pid for stat in at_once(world.discovery.members(seen))[0]] == [pid]


async def test_what_gets_a_group_of_its_own_is_found_in_it_before_it_is_lost(world: World) -> None:
    """As daemon(3) does, whose parent has exited by then."""
    world.start("python3", "-c", DAEMON)
    pid = int(world.line())
    session = world.group(SESSION, pid)
    world.discovery.populated(session, frozen=False)
    [(key, before)] = world.sink.there.items()
    there_when_lost: list[Sighting] = []
    lost = world.sink.lost

    def look_first(key: str) -> None:
        there_when_lost.extend(world.sink.there.values())
        lost(key)

    world.sink.lost = look_first  # type: ignore[method-assign]
    stdin = world.processes[-1].stdin
    assert stdin is not None
    stdin.write(b"\n")
    stdin.flush()
    world.line()
    world.discovery.look_again()
    [(now, seen)] = world.sink.there.items()
    assert (seen.leader, now != key) == (before.leader, True)
    assert there_when_lost == [before, seen]


@pytest.mark.slow
@pytest.mark.parametrize("name", [b"a\nb", b") R 1 (", b"\xff\xfe", b"(", b"", b"1) S 1 1 1 0"])
async def test_processes_that_call_themselves_anything(world: World, name: bytes) -> None:
    pid = world.start("python3", "-c", NAMED, name.hex())
    world.line()
    world.discovery.populated(world.group(SESSION, pid), frozen=False)
    [seen] = world.sink.there.values()
    assert seen.leader.pid == pid
    assert seen.label
    assert seen.label.isprintable()
    assert seen.label.encode("utf-8")


@pytest.mark.parametrize("name", ["app-\udcff-1.scope", "\n.scope", "x" * 249 + ".scope", "%\x1b[m.scope"])
async def test_groups_that_people_call_anything(world: World, name: str) -> None:
    path = f"user.slice/user-1000.slice/user@1000.service/app.slice/{name}"
    pid = world.start("sleep", "60")
    world.discovery.populated(world.group(path, pid), frozen=False)
    [seen] = world.sink.there.values()
    mission = Mission(1, seen)
    assert load(1, dump(mission, ""), "").seen == seen
    for value in mission_details.describe(mission).values():
        assert variant(value.signature, value.value) == value
    assert (seen.cgroup + seen.unit + seen.label).encode("utf-8")


async def test_what_runs_as_root_is_whose_slice_it_is_in(world: World) -> None:
    pid = world.start("sleep", "60")
    world.discovery.populated(world.group(SESSION, pid), frozen=False)
    [seen] = world.sink.there.values()
    assert seen.uid == (os.getuid() or 1000)
    assert not seen.system


async def test_a_service_of_the_host_belongs_to_nobody_else(world: World) -> None:
    pid = world.start("sleep", "60")
    unit = world.group("system.slice/web.service", pid)
    unit = Unit(unit.path, unit.name, None, unit.inode)
    world.discovery.populated(unit, frozen=False)
    [seen] = world.sink.there.values()
    assert (seen.app_id, seen.uid, seen.system) == ("web", os.getuid(), True)


async def test_the_family_of_what_was_only_registered(world: World) -> None:
    pid = world.start("sh", "-c", "sleep 60 & echo; wait")
    world.line()
    seen = of_process(pid)
    stats, directory = at_once(world.discovery.members(seen))
    assert stats[0].pid == pid
    assert len(stats) == 2
    assert directory is None


@pytest.mark.parametrize(("uid", "owner"), [(0, 1000), (SYSTEM, 1000), (1001, 1001)])
async def test_whose_it_is(world: World, monkeypatch: pytest.MonkeyPatch, uid: int, owner: int) -> None:
    """Of what runs as root or a system's user, the person's in whose session it is."""
    monkeypatch.setattr(ProcDirectory, "uid", lambda _: uid)
    world.discovery.populated(world.group(SESSION, world.start("sleep", "60")), frozen=False)
    assert [seen.uid for seen in world.sink.there.values()] == [owner]
