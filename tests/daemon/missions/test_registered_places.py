# SPDX-License-Identifier: Apache-2.0
"""What registered itself and became no job (sudo, tmux) keeps its mission, also while it runs another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from missiond.common.time_slice import SlicedQueue
from missiond.core.missions.missions import Mission, Registration, Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.missions.mission_codec import dump, load
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.scanner import MissionScanner
from missiond.degraded import Degraded
from missiond.host.cgroups.tree import Unit
from missiond.host.processes import jobs
from missiond.host.processes.processes import ProcessWatch
from missiond.host.processes.tree import descendants
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore
from standins.programs.running import SHELL, copy_of_shell

ME = os.getuid() or 1000
SESSION = f"user.slice/user-{ME}.slice/session-3.scope"
REGISTERED = Registration(label="system upgrade", argv=("sudo", "upgrade"), tag=3)


class World:
    """A login session in which a shell becomes another program when it is told to."""

    def __init__(self, directory: Path, becomes: str, runs: str) -> None:
        program = copy_of_shell(os.fsencode(directory / becomes))
        self._process = subprocess.Popen(
            [SHELL, "-c", f'read line; exec {os.fsdecode(program)} -c "{runs}"'],
            process_group=0,
            stdin=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self._mount = directory
        self._directory = directory / SESSION
        self._directory.mkdir(parents=True)
        self._show(self.pid)
        self._start()

    def _leader_exited(self, seen: Sighting) -> None:
        self.discovery.leader_exited(seen)

    def _start(self) -> None:
        place = self._mount
        self._files, self._counters = RecordStore(place / "run"), Counters(place / "c")
        self.missions = MissionRegistry(
            self._files,
            self._counters,
            ProcessWatch(),
            Degraded(),
            Shares(10),
            on_leader_exit=self._leader_exited,
        )
        self.discovery = MissionScanner(place, self.missions, lambda uid: uid == ME, SlicedQueue(60.0))
        self.missions.load()
        unit = Unit(SESSION, "session-3.scope", ME, self._directory.stat().st_ino)
        self.discovery.populated(unit, frozen=False)
        self.missions.finish()

    def restart(self, *pids: int) -> None:
        """Another run of the agent finds these processes."""
        self._stop()
        self._show(*pids)
        self._start()

    def _stop(self) -> None:
        self.discovery.close()
        self.missions.close()
        self._files.close()

    def _show(self, *pids: int) -> None:
        (self._directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def look(self, *pids: int) -> None:
        self._show(*pids)
        self.discovery.look_again()

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def name(self) -> str:
        return Path(f"/proc/{self.pid}/comm").read_text().strip()

    @property
    def only(self) -> Mission:
        [mission] = self.missions.table
        return mission

    def end(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()

    def close(self) -> None:
        if self._process.returncode is None:
            self.end()
        self._stop()


def wait_for(condition: Callable[[], object]) -> None:
    for _ in range(10_000_000):
        if condition():
            return
    raise TimeoutError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jobs, "FORKED", 0.0)  # shells are what they are at once
    (tmp_path / "run").mkdir()
    return tmp_path


async def test_sudo_and_what_it_runs(directory: Path) -> None:
    world = World(directory, "sudo", "read line; sleep 60; true")
    try:
        mission = world.missions.register(world.pid, REGISTERED)
        assert (world.only, mission.found) == (mission, True)
        world.go_on()
        wait_for(lambda: world.name() == "sudo")
        world.look(world.pid)
        assert (world.only, mission.found, mission.seen.app_id) == (mission, False, "sudo")
        written = json.loads(json.dumps(dump(mission, "")))
        assert load(mission.id, written, "").registrant == mission.registrant
        world.go_on()
        wait_for(lambda: [each for each in descendants(world.pid) if _is_sleep(each.pid)])
        child = descendants(world.pid)[0].pid
        world.look(world.pid, child)
        assert (world.only, mission.found) == (mission, True)
        assert (mission.label, mission.seen.app_id, mission.seen.leader.pid) == (
            "system upgrade",
            "sleep",
            child,
        )
        assert (mission.registration, mission.tag) == (REGISTERED, 3)
        world.end()
        world.look()
        assert len(world.missions.table) == 0
    finally:
        world.close()


async def test_a_restart_before_it_was_seen_what_sudo_runs(directory: Path) -> None:
    world = World(directory, "sudo", "sleep 60; true")
    try:
        number = world.missions.register(world.pid, REGISTERED).id
        world.go_on()
        wait_for(lambda: world.name() == "sudo")
        world.look(world.pid)
        wait_for(lambda: [each for each in descendants(world.pid) if _is_sleep(each.pid)])
        child = descendants(world.pid)[0].pid
        world.restart(world.pid, child)
        assert (world.only.id, world.only.label, world.only.found) == (number, "system upgrade", True)
        assert world.only.seen.leader.pid == child
        world.restart(world.pid, child)
        assert (world.only.id, world.only.label) == (number, "system upgrade")
    finally:
        world.close()


async def test_a_restart_while_sudo_runs_the_next_program(directory: Path) -> None:
    """What stood for the mission is over then, and what was registered is not."""
    world = World(directory, "sudo", "sleep 60; sleep 61; read line; true")
    try:
        number = world.missions.register(world.pid, REGISTERED).id
        world.go_on()
        for program in (b"60", b"61"):
            wait_for(lambda program=program: _child(world.pid, program))  # type: ignore[misc]
            child = _child(world.pid, program)
            world.restart(world.pid, child)
            assert (world.only.id, world.only.label) == (number, "system upgrade")
            assert world.only.seen.leader.pid == child
            os.kill(child, signal.SIGKILL)
        wait_for(lambda: not descendants(world.pid))
        world.restart(world.pid)
        assert (world.only.id, world.only.label, world.only.found) == (number, "system upgrade", False)
        world.end()
        world.restart()
        assert len(world.missions.table) == 0
        assert list((directory / "run/mission").iterdir()) == []
    finally:
        world.close()


def _child(pid: int, argument: bytes) -> int:
    """Pid of the sleep(1) below a process that has this argument; 0 where there is none."""
    found = [each.pid for each in descendants(pid) if jobs.argv_of(each.pid)[1:] == [argument]]
    return found[0] if found else 0


def _is_sleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"


@pytest.mark.parametrize("becomes", ["tmux", "ssh-agent", "doas"])
async def test_what_is_no_job_stays_as_long_as_it_lives(directory: Path, becomes: str) -> None:
    world = World(directory, becomes, "read line; read line")
    try:
        mission = world.missions.register(world.pid, REGISTERED)
        world.go_on()
        wait_for(lambda: world.name() == becomes)
        world.look(world.pid)
        assert (world.only, world.only.row[1], mission.registration) == (
            mission,
            "system upgrade",
            REGISTERED,
        )
        world.missions.unregister(mission)
        assert len(world.missions.table) == 0
    finally:
        world.close()
