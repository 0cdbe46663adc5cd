# SPDX-License-Identifier: Apache-2.0
"""Two agents' hand-overs with a client, programs and units that are not real, and a disk that is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from missiond.config.settings import Settings
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import ContinueState
from missiond.core.handover.options import ContinueOptions, HandoverLimits
from missiond.core.handover.record import Record
from missiond.core.launch.description import LaunchDescription
from missiond.core.missions.missions import Leader, Mission, MissionTable, Registration, Sighting
from missiond.daemon.handover.client import HandoverClient
from missiond.daemon.handover.executor import Executor
from missiond.daemon.handover.handovers import Handovers
from missiond.daemon.handover.launcher import LaunchTarget
from missiond.daemon.handover.marks import TransferMarks
from missiond.daemon.handover.moved_tasks import MovedTask, MovedTasks
from missiond.daemon.handover.pending_continuations import PendingContinuations
from missiond.daemon.handover.settling import Settling
from missiond.daemon.handover.source import SourceHost
from missiond.daemon.handover.state_requests import Outcome, StateAnswer, StateRequests
from missiond.daemon.handover.store import HandoverStore
from missiond.daemon.handover.target import TargetHost
from missiond.daemon.missions.shared_missions import SharedMissions
from missiond.daemon.missions.stop import MissionStop
from missiond.errors import AgentError, DistributedServiceFailed, MissionNotFound, PermissionDenied
from missiond.host.systemd.launcher import Ending, Launcher
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore

A, B = "a" * 64, "b" * 64
ARGV = ("/usr/bin/counter",)
APP = "org.example.Counter"
LIMITS = HandoverLimits(answer=500, overall=2_000, stall=2_000, retry_least=20, retry_most=100)


class World:
    """The programs of both hosts, and the network between them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.linked = True
        self.permitted = {A, B}
        """As each agent has it."""
        self.permissions = {A: ["sync", "continue"], B: ["sync", "continue"]}
        self.running: list[tuple[str, bytes]] = []
        """Device and state of each program."""
        self.at: Callable[[str, str], Any] = lambda _device, _what: None
        """Called at points of interest: device, and what is about to be done."""
        self.sides: dict[str, Side] = {}


class Side:
    """One host; `crash` and `start` are its daemon's, all else stays."""

    def __init__(self, world: World, device: str, peer: str) -> None:
        self.world, self.device, self.peer = world, device, peer
        self.table = MissionTable()
        self.directory = world.place / device[0]
        self.told: list[tuple[int, int, str]] = []
        self.phases: list[str] = []
        self.changes: list[ContinueState] = []
        self.numbers = 0
        self.answer: StateAnswer | AgentError = StateAnswer(Outcome.AGREED, b"4711")
        self.check: AgentError | None = None
        self.installs: tuple[int, ...] = ()
        """Per cents of an installation, where one is wanted."""
        self.installed: list[int] = []
        """What its callers heard of one."""
        self.no_room: AgentError | None = None
        self.refuses: AgentError | None = None
        self.stop_fails: AgentError | None = None
        self.settle_seconds = 2.0
        self.ends_early = False
        """Whether what is started here ends by itself before it has settled."""
        self.full: str = ""
        """Phase whose record can't be written."""
        self.started: list[str] = []
        self.umasks: list[int | None] = []
        self.cwd = ""
        self.directories: list[str] = []
        """Of what was started here."""
        self.leader: Leader | None = None
        """Stands for programs that begin here; else no process does."""
        self.tasks: list[str] = []
        """Modes of continuous tasks that its programs own."""
        self.refuses_tasks: set[str] = set()
        self.locks: dict[str, list[str]] = {}
        """Held for programs that are about to be started."""
        self.locked_at_start: list[str] = []
        self.adopted: list[str] = []
        self.peer_name = ""
        """What the other host is called here."""
        self.cleared: list[str] = []
        """Units whose end the manager has forgotten."""
        self.ready: set[str] = set()
        """Transfers whose start is got ready."""
        self.ready_takes = 0.0
        """Seconds."""
        self.begun_ready = 0
        self.units: dict[str, int] = {}
        self.expected: dict[str, int] = {}
        self.news = asyncio.Event()
        world.sides[device] = self

    # --- its daemon

    async def start(self) -> None:
        """Begin, or begin again after a crash."""
        files = self._files = RecordStore(self.directory / "run")
        counters = self._counters = Counters(self.directory / "run/counters")
        self.expected.clear()
        marks, disk = TransferMarks(files), _Disk(self, self.directory / "state")
        self.continuations = PendingContinuations(files, counters)
        self.continuations.load()
        client = cast("HandoverClient", _Client(self))
        work = Executor(Coordinator(lambda: os.urandom(16).hex(), LIMITS))
        carried = cast("MovedTasks", self)
        source = SourceHost(
            self.table,
            cast("SharedMissions", self),
            cast("StateRequests", self),
            cast("MissionStop", self),
            disk,
            marks,
            carried,
            Settings,
            work.tell,
        )
        self.settling = Settling(self.table, cast("Launcher", self), lambda: self.settle_seconds)
        launch = cast("LaunchTarget", _Launch(self))
        target = TargetHost(launch, self.settling, carried, disk, marks, self.continuations, work.tell)
        self.handovers = Handovers(
            client,
            disk,
            marks,
            self,
            work,
            source,
            target,
            self.world.permitted,
            lambda _device: self.peer_name,
            lambda _device, _step: "it has no permission 'continue' there",
        )
        self.up = True
        assert await self.handovers.load() is None
        if self.world.linked:
            for side in self.world.sides.values():
                side.link(up=True)

    up = False
    """Whether its daemon runs."""

    async def crash(self) -> None:
        """End its daemon at once."""
        if not self.up:
            return
        self._end()
        self.world.sides[self.peer].link(up=False)

    async def close(self) -> None:
        """End it for good."""
        if self.up:
            self._end()

    def _end(self) -> None:
        self.up = False
        self.handovers.close()
        self.settling.close()
        self._files.close()
        self.ready.clear()  # what was got ready ends with the connections of the daemon

    def link(self, *, up: bool) -> None:
        """Tell it of the link."""
        if self.up:
            self.handovers.link(self.peer, up=up)

    # --- its programs

    def begin(self, state: bytes = b"4711", unit: str = "", connection: str = ":1.5") -> Mission:
        """Have a program run that is a mission."""
        number = max((mission.id for mission in self.table), default=0) + 1
        leader = self.leader or Leader(2**22 + number, 7)
        seen = Sighting(f"unit/{number}", leader, os.getuid(), APP, "Counter", "", 5)
        registration = Registration(
            argv=ARGV, cwd=self.cwd, continuable=bool(connection), connection=connection
        )
        mission = Mission(number, SimpleNamespace(**_fields(seen, unit)), registration=registration)  # type: ignore[arg-type]
        self.table.add(mission)
        self.world.running.append((self.device, state))
        return mission

    def end(self, mission: Mission) -> None:
        """Have it end."""
        if mission.id in self.table:
            self.table.remove(mission)
            self.world.running.remove(next(each for each in self.world.running if each[0] == self.device))
            if self.up:
                self.handovers.removed(mission)
                self.settling.removed(mission)

    async def stop(self, mission: Mission, _seconds: float) -> None:
        """As Stopping."""
        await asyncio.sleep(0)
        if self.stop_fails is not None:
            raise self.stop_fails
        self.end(mission)

    # --- as MovedTasks

    def of(self, _mission: Mission) -> list[dict[str, Any]]:
        return [{"modes": [item], "context": item} for item in self.tasks]

    async def refused(self, tasks: Iterable[MovedTask], _uid: int, _app_id: str) -> list[str]:
        return [f"{task.shown}: no" for task in tasks if task.wish.context in self.refuses_tasks]

    async def hold(self, transfer: str, tasks: Sequence[MovedTask], _uid: int, _app_id: str) -> None:
        self.locks[transfer] = [task.wish.context for task in tasks]

    def release(self, transfer: str) -> None:
        self.locks.pop(transfer, None)

    async def adopt(self, tasks: Sequence[MovedTask], pid: int) -> list[str]:
        refused = await self.refused(tasks, 0, "")
        kept = [task.wish.context for task in tasks if task.wish.context not in self.refuses_tasks]
        assert pid
        self.adopted = kept
        return refused

    # --- what the edge asks

    async def ended(self, _uid: int, unit: str) -> Ending:
        """As Launcher."""
        await asyncio.sleep(0)
        self.cleared.append(unit)
        return Ending(any(mission.seen.unit == unit for mission in self.table), "with exit status 1")

    async def ask(
        self, _mission: Mission, _number: int, _device: str, _want: object, _s: float
    ) -> StateAnswer:
        """As StateRequests."""
        await asyncio.sleep(0)
        if isinstance(self.answer, AgentError):
            raise self.answer
        return self.answer

    def find(self, mission_id: int) -> Mission:
        """As Sharing."""
        return self.table.find(mission_id)

    def missions(self) -> list[Mission]:
        """As Sharing."""
        return self.table.of(None)

    # --- the HandoverEvents

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def done(self, continuation: int, code: int, reason: str) -> None:
        self.told.append((continuation, code, reason))
        self.news.set()

    def progress(self, record: Record, _done: int) -> None:
        self.phases.append(record.phase.value)
        self.world.at(self.device, record.phase.value)

    def installing(self, _record: Record, percent: int) -> None:
        self.installed.append(percent)

    def changed(self, state: ContinueState, _record: Record) -> None:
        self.changes.append(state)

    # --- people

    async def push(self, mission: Mission, number: int = 1, **terms: Any) -> None:
        await self.handovers.push(self.peer, mission, ContinueOptions(continuation=number, **terms))

    async def pull(self, mission: int, app_id: str = "", number: int = 1, **terms: Any) -> None:
        await self.handovers.pull(self.peer, mission, app_id, ContinueOptions(continuation=number, **terms))

    async def until_told(self) -> tuple[int, int, str]:
        while not self.told:
            self.news.clear()
            await self.news.wait()
        return self.told[0]


def _fields(seen: Sighting, unit: str) -> dict[str, Any]:
    return {name: getattr(seen, name) for name in Sighting.__slots__} | {"unit": unit}


class _Disk(HandoverStore):
    def __init__(self, side: Side, directory: Path) -> None:
        super().__init__(directory)
        self._side = side

    async def save(self, record: Record) -> None:
        side = self._side
        side.world.at(side.device, f"write {record.phase.value}")
        if side.full == record.phase.value:
            raise OSError(28, "No space left on device")
        await super().save(record)
        side.world.at(side.device, f"written {record.phase.value}")


class _Launch:
    """LaunchTarget: what was started for a transfer is not started twice while it runs."""

    def __init__(self, side: Side) -> None:
        self._side = side

    async def check(
        self,
        what: LaunchDescription,
        _t: str,
        _size: int,
        *,
        install: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        assert what.argv == ARGV
        assert install == bool(self._side.installs)
        for percent in self._side.installs:
            assert progress is not None
            progress(percent)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._side.check is not None:
            raise self._side.check
        return 1 << 30

    def room(self, size: int, space: int | None = None) -> None:
        assert space == 1 << 30
        if self._side.no_room is not None:
            raise self._side.no_room

    async def prepare(
        self, what: LaunchDescription, transfer: str, origin: str, files: Mapping[str, int]
    ) -> bool:
        assert (what.argv, origin) == (ARGV, self._side.peer)
        assert "want_param" in files
        await asyncio.sleep(self._side.ready_takes)
        self._side.ready.add(transfer)
        return True

    def discard(self, _what: LaunchDescription, transfer: str) -> None:
        self._side.ready.discard(transfer)

    def left(self, transfer: str) -> None:
        pass

    async def start(
        self,
        what: LaunchDescription,
        transfer: str,
        origin: str,
        files: Mapping[str, int],
        *,
        own: bool = False,
    ) -> Mission:
        side = self._side
        side.world.at(side.device, "start")
        await asyncio.sleep(0)
        if side.refuses is not None and not own:
            raise side.refuses
        assert origin == ("" if own else side.peer)
        if transfer in side.units and side.units[transfer] in side.table:
            return side.table.find(side.units[transfer])
        side.started.append(transfer)
        side.umasks.append(what.umask)
        side.directories.append(what.cwd)
        side.locked_at_start = side.locks.get(transfer, [])
        side.begun_ready += transfer in side.ready
        side.ready.discard(transfer)
        state = os.pread(files["state"], 1 << 24, 0) if "state" in files else b""
        unit = f"app-missiond-{what.app_id}@{transfer}.service"
        mission = side.begin(state, unit, connection="" if side.ends_early else ":1.5")
        side.units[transfer] = mission.id
        if side.ends_early:
            asyncio.get_running_loop().call_later(0.03, side.end, mission)
        return mission

    async def here(self, what: LaunchDescription, below: object) -> LaunchDescription:
        return what if below is None else replace(what, cwd=f"/var/home/ann/{below}")

    def uid_of(self, _what: LaunchDescription, *, own: bool = False) -> int:
        return os.getuid() if own or self._side else -1


class _Client:
    """Hands everything to the other side; what is lost fails."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.known: set[str] = set()

    def know(self, _device: str, transfer: str) -> None:
        self.known.add(transfer)

    def forget(self, transfer: str) -> None:
        self.known.discard(transfer)

    async def send(self, device: str, transfer: str, step: str, body: str) -> None:
        side = self._side
        self.known.add(transfer)
        side.world.at(side.device, f"send {step}")
        other = self._other(device)
        permissions = tuple(side.world.permissions[side.device])
        if "continue" not in permissions and step in ("offer", "pull"):
            raise PermissionDenied("it has no permission 'continue' there")
        may_continue = "continue" in permissions
        await other.received(side.device, transfer, step, body, may_continue=may_continue)
        side.world.at(side.device, f"sent {step}")

    async def send_state(self, device: str, transfer: str, fd: int, offset: int, size: int) -> None:
        side = self._side
        other = self._other(device)
        target = side.world.sides[device]
        into = target.expected.get(transfer)
        if into is None:
            raise DistributedServiceFailed("it does not expect this state")
        half = max(1, (size - offset) // 2)
        for at, length in ((offset, half), (offset + half, size - offset - half)):
            os.pwrite(into, os.pread(fd, length, at), at)
            other.progress(transfer, at + length, sending=False)
            side.world.at(side.device, "state")
            await asyncio.sleep(0)
            other = self._other(device)
        other.states.complete(transfer)

    async def expect_state(self, _device: str, transfer: str, fd: int, _offset: int, _size: int) -> None:
        self._side.expected[transfer] = fd

    def _other(self, device: str) -> Handovers:
        other = self._side.world.sides[device]
        if not other.up or not self._side.up or not self._side.world.linked:
            raise DistributedServiceFailed("it is not connected")
        return other.handovers


__all__ = ["APP", "A", "B", "MissionNotFound", "Side", "World"]
