# SPDX-License-Identifier: Apache-2.0
"""A host that hands missions over: executes effects on a disk, a network and programs, none real."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from missiond.core.handover import effects as do
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import Effect, Timer
from missiond.core.handover.options import MovingMission
from missiond.core.handover.record import Phase
from standins.worlds.handover_disk import Disk

if TYPE_CHECKING:
    from standins.worlds.handover_world import World

CHUNK = 4


class Died(Exception):
    """The daemon of a host died in the middle of something."""


@dataclass(eq=False)
class Process:
    """A running program; survives the daemon."""

    host: str
    tag: str
    """Transfer that started it, or "original"."""
    identity: str
    state: bytes
    dying: bool = False


class Host:
    """One host with its daemon, which is replaced by a new one when it dies."""

    def __init__(self, world: World, name: str, peer: str) -> None:
        self.world, self.name, self.peer = world, name, peer
        self.disk = Disk()
        self.started: set[tuple[str, str]] = set()
        """What systemd was ever asked to start here: (role, transfer)."""
        self.settled: set[tuple[str, str]] = set()
        """What of that has lived for long enough."""
        self.told: list[tuple[int, int]] = []
        self.tells: dict[int, set[int]] = {}
        self.doubled = 0
        self.mission = 7
        self.up = False
        self.life = 0
        self.boot()

    # The daemon.

    def boot(self) -> None:
        """Start a daemon, which finds what is on the disk."""
        self.up = True
        self.life += 1
        self.coordinator = Coordinator(self.world.new_id, self.world.limits)
        self.timers: dict[tuple[str, Timer], int] = {}
        self.installed: dict[str, list[int]] = {}
        """Per cents that this daemon's callers were told of."""
        self.receiving: dict[str, tuple[int, bytearray]] = {}
        self.sending: dict[str, int] = {}
        self.hear(lambda: self.coordinator.load(self.disk.load(), dict(self.disk.fences)))
        if self.world.linked:
            self.link(True)

    def die(self) -> None:
        self.up = False
        self.timers.clear()

    def hear(self, what: Callable[[], list[Effect]]) -> None:
        """Tell the coordinator something and execute its effects, unless the daemon is dead or dies of it."""
        if not self.up:
            return
        try:
            self._execute(what())
        except Died:
            self.die()

    def _execute(self, effects: list[Effect]) -> None:
        failed: set[str] = set()
        for effect in effects:
            if effect.transfer in failed:
                continue
            self.world.point(self, effect, "before")
            try:
                self._perform(effect)
            except OSError as error:
                if isinstance(effect, do.SaveFence):
                    continue
                failed.add(effect.transfer)
                self._execute(self.coordinator.write_failed(effect, str(error)))
                continue
            self.world.point(self, effect, "after")
            self.world.check()

    def link(self, up: bool) -> None:
        self.hear(lambda: self.coordinator.link(self.peer, up))

    def later(self, what: Callable[[], Any]) -> None:
        """Report to this daemon, and to no later one."""
        life = self.life
        self.world.later(self, lambda: what() if self.up and self.life == life else None)

    def _perform(self, effect: Effect) -> None:
        name = effect.transfer
        match effect:
            case do.Write(_, record):
                self.disk.write(record)
            case do.SaveFence(_, identity, fence):
                self.disk.save_fence(identity, fence)
            case do.Remove():
                self.disk.remove(name)
            case do.Send(_, _, step, body):
                self.world.send(self.name, (name, step, body))
            case do.TellDone(_, continuation, code, _):
                self.told.append((continuation, code))
            case do.SetTimer(_, timer, None):
                self.timers.pop((name, timer), None)
            case do.SetTimer(_, timer, after) if after is not None:
                self.timers[name, timer] = self.world.now + after
            case do.ForgetTransfer():
                self.receiving.pop(name, None)
                self.sending.pop(name, None)
                self.timers = {key: due for key, due in self.timers.items() if key[0] != name}
            case do.Doubled():
                self.doubled += 1
            case do.Installing(_, percent):
                told = self.installed.setdefault(name, [])
                assert not told or percent > told[-1]
                told.append(percent)
            case do.TellState() | do.StateProgress():
                pass
            case _:
                self._begin(effect)

    def _begin(self, effect: Effect) -> None:
        """Effects that report."""
        name = effect.transfer
        coordinator = self.coordinator
        behaviour = self.world.behaviour
        match effect:
            case do.Resolve():
                self.later(lambda: self.hear(lambda: self._resolve(name)))
            case do.Check(_, _, _, free_install):
                for percent in behaviour.install if free_install else ():
                    self.later(functools.partial(self._installing, name, percent))
                self.later(lambda: self.hear(lambda: coordinator.checked(name, behaviour.check)))
            case do.AskOwner():
                self.later(functools.partial(self._owner, name))
            case do.CaptureContext():
                self.later(functools.partial(self._captured, name))
            case do.SendState(_, _, offset):
                self.sending[name] = serial = self.world.serial()
                self.later(functools.partial(self._send_chunk, name, serial, offset))
            case do.ReceiveState(_, size, _):
                self.receiving[name] = (size, bytearray())
                if size == 0:
                    self.later(functools.partial(self._complete, name))
            case do.StopMission():
                self._stop(name)
            case do.StartUnit(_, record):
                self.world.later(self, functools.partial(self._start, name, "target", record.identity))
            case do.RestartHere(_, record):
                assert record.phase is Phase.RESTARTING
                self.world.later(self, functools.partial(self._start, name, "source", record.identity))
            case _:
                raise AssertionError(effect)

    # Programs.

    def launch(self) -> MovingMission:
        behaviour = self.world.behaviour
        running = [process for process in self.world.running() if process.host == self.name]
        identity = running[0].identity if running and running[0].tag != "original" else ""
        return MovingMission(
            description={"argv": ["/usr/bin/counter"]},
            identity=identity,
            has_owner=behaviour.owner != "none",
            relaunch=behaviour.relaunch,
        )

    def _resolve(self, name: str) -> list[Effect]:
        if not any(process.host == self.name for process in self.world.running()):
            return self.coordinator.not_resolved(name, 16300502, "there is no such mission")
        return self.coordinator.resolved(name, self.mission, self.launch(), 77)

    def _installing(self, name: str, percent: int) -> None:
        self.hear(lambda: self.coordinator.installing(name, percent))

    def _owner(self, name: str) -> None:
        answer = self.world.behaviour.owner
        if answer == "dies":
            self._ends()
        elif answer in {"agrees", "refuses"}:
            try:
                self._execute(self.coordinator.owner_answered(name, answer == "agrees"))
            except Died:
                self.die()
            if answer == "agrees":
                self.later(functools.partial(self._captured, name))

    def _ends(self) -> None:
        """The program that is there ends by itself."""
        for process in self.world.running():
            if process.host == self.name:
                self.world.processes.remove(process)
        self.hear(lambda: self.coordinator.mission_ended(self.mission))

    def _captured(self, name: str) -> None:
        state = self.world.state
        try:
            self.disk.write_state(name, state)
        except OSError:
            self.hear(lambda: self.coordinator.state_failed(name, "disk full"))
            return
        self.hear(
            lambda: self.coordinator.state_captured(name, len(state), hashlib.sha256(state).hexdigest())
        )

    def _stop(self, name: str) -> None:
        victims = [process for process in self.world.running() if process.host == self.name]
        if self.world.behaviour.stop_fails:
            self.later(lambda: self.hear(lambda: self.coordinator.stop_failed(name, "it does not end")))
            return
        for victim in victims:
            victim.dying = True

        def end() -> None:
            for victim in victims:
                if victim in self.world.processes:
                    self.world.processes.remove(victim)

        self.world.later(self, end)
        self.later(lambda: self.hear(lambda: self.coordinator.mission_stopped(name)))

    def _start(self, name: str, role: str, identity: str) -> None:
        """What systemd does, and what the daemon hears of it if it lives."""
        if not self.up:
            return
        coordinator = self.coordinator
        report = coordinator.unit_started if role == "target" else coordinator.restarted
        code = self.world.behaviour.start if role == "target" else self.world.behaviour.restart
        if (role, name) not in self.started:
            old = [process for process in self.world.running() if process.host == self.name]
            if role == "source" and old and not old[0].dying:
                self.hear(lambda: report(name, 0))
                return
            for process in old if role == "source" else ():
                self.world.processes.remove(process)
            if code:
                self.hear(lambda: report(name, code, "it does not start"))
                return
            self.started.add((role, name))
            process = Process(self.name, name, identity, self.disk.states[name])
            self.world.processes.append(process)
            self.world.check()
            if role == "target" and self.world.behaviour.ends_early:
                self.world.later(self, lambda: self.world.processes.remove(process))
        self.later(functools.partial(self._settle, name, role))

    def _settle(self, name: str, role: str) -> None:
        """See whether it lives on; what was seen is remembered over restarts of the daemon."""
        report = self.coordinator.unit_started if role == "target" else self.coordinator.restarted
        if (role, name) not in self.settled and role == "target" and self.world.behaviour.ends_early:
            assert not any(each.host == self.name and each.tag == name for each in self.world.processes)
            self.hear(lambda: report(name, 16300501, "it ended"))
            return
        self.settled.add((role, name))
        self.hear(lambda: report(name, 0))

    # The state.

    def _send_chunk(self, name: str, serial: int, offset: int) -> None:
        if self.sending.get(name) != serial or name not in self.disk.states:
            return
        data = self.disk.states[name][offset : offset + CHUNK]
        if not data:
            return
        self.world.send(self.name, (name, "chunk", {"offset": offset, "data": data}))
        self.hear(lambda: self.coordinator.state_sent(name, offset + len(data)))
        self.later(functools.partial(self._send_chunk, name, serial, offset + len(data)))

    def arrived(self, message: tuple[str, str, Any]) -> None:
        name, step, body = message
        if step != "chunk":
            self.hear(lambda: self.coordinator.received(self.peer, name, step, body))
            return
        if name not in self.receiving:
            return
        size, have = self.receiving[name]
        if body["offset"] != len(have):
            return
        have += body["data"]
        self.hear(lambda: self.coordinator.state_received(name, len(have)))
        if len(have) == size:
            self._complete(name)

    def _complete(self, name: str) -> None:
        found = self.receiving.pop(name, None)
        if found is None:
            return
        try:
            self.disk.write_state(name, bytes(found[1]))
        except OSError:
            self.hear(lambda: self.coordinator.state_failed(name, "disk full"))
        else:
            self.hear(lambda: self.coordinator.state_complete(name))
