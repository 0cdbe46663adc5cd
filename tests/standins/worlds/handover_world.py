# SPDX-License-Identifier: Apache-2.0
"""Two hosts, the network between them, and time, none of it real and all of it repeatable."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from missiond.core.handover.effects import Effect
from missiond.core.handover.options import ContinueOptions, HandoverLimits
from standins.worlds.handover_host import Died, Host, Process

STATE = b"counter=4711"
A, B = "a" * 64, "b" * 64


@dataclass(frozen=True)
class Behaviour:
    """How programs and hosts behave."""

    owner: str = "agrees"
    """agrees, refuses, silent, dies (when asked), none (knows nothing of it)."""
    relaunch: bool = False
    install: tuple[int, ...] = ()
    """Per cents that the target tells of, where its program has to be installed first."""
    check: int = 0
    start: int = 0
    ends_early: bool = False
    """What is started at the target ends before it has settled there."""
    restart: int = 0
    stop_fails: bool = False
    keep_source: bool = False


Message = tuple[str, str, Any]


class World:
    """Host `a` has a mission; `point` is where faults strike."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.state = STATE
        self.limits = HandoverLimits()
        self.now = 0
        self.linked = True
        self.reclaimed = False
        self.processes: list[Process] = []
        self.events: deque[tuple[Host, Callable[[], Any]]] = deque()
        self.wire: deque[tuple[str, Message]] = deque()
        self.at_point: Callable[[Host, str, str], None] = lambda host, label, when: None
        self._ids = 0
        self._serial = 0
        self.a = Host(self, A, B)
        self.b = Host(self, B, A)
        self.hosts = {A: self.a, B: self.b}
        self.processes.append(Process(A, "original", "", STATE))

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:032x}"

    def serial(self) -> int:
        self._serial += 1
        return self._serial

    # What people do.

    def push(self, source: Host | None = None, continuation: int = 1) -> None:
        host = source or self.a
        terms = self._terms(continuation)

        def ask() -> list[Effect]:
            return host.coordinator.push(host.peer, host.mission, host.launch(), terms)[1]

        host.hear(ask)

    def pull(self, target: Host | None = None, continuation: int = 1) -> None:
        host = target or self.b
        terms = self._terms(continuation)
        host.hear(lambda: host.coordinator.pull(host.peer, 7, "", terms)[1])

    def _terms(self, continuation: int) -> ContinueOptions:
        behaviour = self.behaviour
        return ContinueOptions(
            continuation=continuation,
            want={"x": 1},
            keep_source=behaviour.keep_source,
            free_install=bool(behaviour.install),
        )

    def reclaim(self) -> bool:
        """Reclaim what can be; return whether there was any."""
        done = False
        for host in self.hosts.values():
            for item in host.coordinator.in_flight() if host.up else ():
                if item.can_reclaim:
                    self.reclaimed = done = True
                    host.hear(functools.partial(host.coordinator.reclaim, item.record.transfer))
        return done

    # Faults.

    def point(self, host: Host, effect: Effect, when: str) -> None:
        label = type(effect).__name__
        if label == "Write":
            label += f" {effect.record.phase.value}"  # type: ignore[attr-defined]
        elif label == "Send":
            label += f" {effect.step}"  # type: ignore[attr-defined]
        self.at_point(host, label, when)
        if not host.up:
            raise Died

    def cut(self) -> None:
        """The link goes down, and what is on it is lost."""
        if self.linked:
            self.linked = False
            self.wire.clear()
            for host in self.hosts.values():
                self.later(host, functools.partial(host.link, False))

    def join(self) -> None:
        if not self.linked:
            self.linked = True
            for host in self.hosts.values():
                self.later(host, functools.partial(host.link, True))

    def heal(self) -> None:
        for host in self.hosts.values():
            if not host.up:
                host.boot()
        self.join()

    # Time.

    def later(self, host: Host, what: Callable[[], Any]) -> None:
        self.events.append((host, what))

    def send(self, sender: str, message: Message) -> None:
        if self.linked:
            self.wire.append((sender, message))

    def step(self) -> bool:
        """Do what is next: an event, a message, a timer; False when nothing is."""
        if self.events:
            self.events.popleft()[1]()
        elif self.wire:
            self.deliver(*self.wire.popleft())
        else:
            return self.tick()
        self.check()
        return True

    def deliver(self, sender: str, message: Message) -> None:
        self.hosts[self.hosts[sender].peer].arrived(message)

    def tick(self, until: int = 1 << 60) -> bool:
        due = [(when, host, key) for host in self.hosts.values() for key, when in host.timers.items()]
        if not due:
            return False
        when, host, key = min(due, key=lambda item: (item[0], item[1].name, item[2]))
        if when > until:
            return False
        self.now = max(self.now, when)
        del host.timers[key]
        host.hear(lambda: host.coordinator.timer_expired(*key))
        return True

    def run(self, span: int = 600_000) -> None:
        """Go on until nothing is left to be done, or for `span` ms."""
        until = self.now + span
        for _ in range(20_000):
            if self.events or self.wire:
                self.step()
            elif not self.tick(until):
                return
        raise AssertionError("no end to it")

    # What is true.

    def running(self) -> list[Process]:
        return self.processes

    def listed(self) -> bool:
        """Whether people can see that something is under way, on a host that is up or when it is up again."""
        return any(
            host.coordinator.in_flight() if host.up else host.disk.records for host in self.hosts.values()
        )

    def check(self) -> None:
        """What holds at any moment."""
        for process in self.processes:
            assert process.state == self.state, process
        if not self.behaviour.keep_source and not self.reclaimed:
            assert len(self.processes) <= 1, self.processes
        if not self.processes and self.behaviour.owner != "dies":
            assert self.listed()

    def settled(self) -> bool:
        """Whether nothing is left of it anywhere."""
        return not any(
            host.disk.records or host.disk.states or host.timers or host.coordinator.in_flight()
            for host in self.hosts.values()
        )
