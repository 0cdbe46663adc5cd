# SPDX-License-Identifier: Apache-2.0
"""Whatever hosts, disks and the network do, in whatever order, a mission is not lost and does not run twice.

MISSIOND_HANDOVER_EXAMPLES=N runs N schedules that differ each time; without it they are few and the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from missiond.errors import AgentError
from standins.examples import examples
from standins.worlds.handover_host import Host
from standins.worlds.handover_world import A, B, Behaviour, Message, World

EXAMPLES = int(os.environ.get("MISSIOND_HANDOVER_EXAMPLES", "0"))
FAULTS = [
    "lose", "repeat", "overtake", "old", "cut", "join", "kill a", "kill b", "boot",
    "full a", "full b", "die in a", "die in b", "time",
]  # fmt: skip
BEHAVIOURS = st.builds(
    Behaviour,
    owner=st.sampled_from(["agrees", "agrees", "agrees", "refuses", "silent", "none", "dies"]),
    relaunch=st.just(True),
    install=st.sampled_from([(), (), (0, 50, 20, 50, 100)]),
    check=st.sampled_from([0, 0, 0, 16300503]),
    start=st.sampled_from([0, 0, 16300501]),
    ends_early=st.sampled_from([False, False, True]),
    restart=st.sampled_from([0, 0, 0, 16300501]),
    stop_fails=st.sampled_from([False, False, False, True]),
    keep_source=st.sampled_from([False, False, True]),
)
STEPS = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from([*FAULTS, "ask"]), st.integers(0, 40)), max_size=14
)


class Chaos:
    """A world in which things go wrong on request."""

    def __init__(self, behaviour: Behaviour, *, pull: bool) -> None:
        self.world = World(behaviour)
        self.pull = pull
        self.history: list[tuple[str, Message]] = []
        self.asked = 0
        self.answered: set[int] = set()
        self.dying: dict[Host, int] = {}
        self.world.at_point = self._point
        send = self.world.send

        def remember(sender: str, message: Message) -> None:
            self.history.append((sender, message))
            send(sender, message)

        self.world.send = remember  # type: ignore[method-assign]

    def _point(self, host: Host, label: str, when: str) -> None:
        if host in self.dying:
            self.dying[host] -= 1
            if self.dying[host] < 0:
                del self.dying[host]
                host.die()

    def ask(self) -> None:
        """Continue the mission from where it is to where it is not."""
        world = self.world
        source = world.hosts[world.processes[0].host] if world.processes else world.a
        caller = world.hosts[source.peer] if self.pull else source
        if not caller.up:
            return
        self.asked += 1
        try:
            (world.pull if self.pull else world.push)(caller, self.asked)
        except AgentError:
            return
        if caller.up:
            self.answered.add(self.asked)  # the call returned, so that ContinueDone has to come

    def fault(self, name: str, number: int) -> None:
        world = self.world
        wire = world.wire
        verb, _, which = name.partition(" ")
        host = world.a if which.endswith("a") else world.b
        actions: dict[str, Callable[[], object]] = {
            "lose": lambda: wire.popleft() if wire else None,
            "repeat": lambda: wire.append(wire[0]) if wire else None,
            "overtake": lambda: wire.rotate(1),
            "old": lambda: self._deliver_again(number),
            "cut": world.cut,
            "join": world.join,
            "kill": host.die,
            "boot": self._boot,
            "full": lambda: self._fill(host, number),
            "die": lambda: self.dying.__setitem__(host, number),
            "time": lambda: world.run(number * 1000),
            "reclaim": world.reclaim,
            "ask": self.ask,
        }
        actions[verb]()

    def _deliver_again(self, number: int) -> None:
        """Something that was said before arrives once more."""
        if self.history:
            self.world.deliver(*self.history[number % len(self.history)])

    def _boot(self) -> None:
        for host in self.world.hosts.values():
            if not host.up:
                host.boot()

    def _fill(self, host: Host, number: int) -> None:
        """A few of the next writes fail."""
        bits = [bool(number >> bit & 1) for bit in range(6)]
        host.disk.full = lambda: bits.pop() if bits else False
        host.disk.half = number % 2 == 1

    def heal(self) -> None:
        self.dying.clear()
        for host in self.world.hosts.values():
            host.disk.full = lambda: False
        self.world.heal()
        self.world.run()
        if self.world.behaviour.restart:  # whatever kept it from starting is mended
            self.world.behaviour = replace(self.world.behaviour, restart=0)
            for host in self.world.hosts.values():
                host.die()
            self.world.heal()
            self.world.run()

    def told_once(self) -> None:
        told = self.world.a.told + self.world.b.told
        results = dict(told)
        assert set(told) == set(results.items()), told
        assert self.answered <= results.keys(), (self.answered, told)


def _run(behaviour: Behaviour, pull: bool, steps: list[tuple[int, str, int]]) -> Chaos:
    chaos = Chaos(behaviour, pull=pull)
    chaos.ask()
    for count, fault, number in steps:
        for _ in range(count):
            if chaos.world.events or chaos.world.wire:
                chaos.world.step()
        chaos.fault(fault, number)
    chaos.heal()
    return chaos


_many = settings(
    max_examples=EXAMPLES or examples(400),
    deadline=None,
    derandomize=not EXAMPLES,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.timeout(60 + EXAMPLES)
@_many
@example(  # the source takes it back, cannot write that down, and must not let the target forget
    Behaviour(start=16300501, restart=16300501), False, [(5, "full a", 12), (15, "repeat", 0)]
)
@given(BEHAVIOURS, st.booleans(), STEPS)
def test_one_instance_runs_when_all_is_well_again(
    behaviour: Behaviour, pull: bool, steps: list[tuple[int, str, int]]
) -> None:
    chaos = _run(behaviour, pull, steps)
    world = chaos.world
    assert world.settled()
    chaos.told_once()
    where = [process.host for process in world.processes]
    if behaviour.owner == "dies":
        assert len(where) <= 1
    elif behaviour.keep_source:
        assert where.count(A) >= 1
    else:
        assert len(where) == 1


@pytest.mark.timeout(60 + EXAMPLES)
@_many
@given(
    BEHAVIOURS,
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 25), st.sampled_from([*FAULTS, "reclaim", "cut"]), st.integers(0, 40)),
        max_size=14,
    ),
)
def test_what_was_reclaimed_is_not_lost_and_people_know_if_it_runs_twice(
    behaviour: Behaviour, pull: bool, steps: list[tuple[int, str, int]]
) -> None:
    chaos = _run(behaviour, pull, steps)
    world = chaos.world
    assert world.settled()
    where = [process.host for process in world.processes]
    if behaviour.owner != "dies":
        assert where.count(A) + where.count(B) >= 1
    if where.count(A) and where.count(B) and not behaviour.keep_source:
        assert world.b.doubled
    assert where.count(A) <= 1
    assert where.count(B) <= 1 + behaviour.keep_source


@pytest.mark.parametrize("pull", [False, True])
def test_there_and_back_again_and_nothing_said_before_matters(pull: bool) -> None:
    chaos = Chaos(Behaviour(), pull=pull)
    world = chaos.world
    for hop in range(1, 7):
        chaos.ask()
        world.run()
        for sender, message in list(chaos.history):  # all that was ever said, and what comes of it
            world.deliver(sender, message)
            world.run()
        assert [process.host for process in world.processes] == [B if hop % 2 else A]
        assert world.settled()
        fences = [*world.a.disk.fences.values(), *world.b.disk.fences.values()]
        assert len(fences) == 2, "its identity changed"
        # An old request to pull costs a fence: it is offered, and nobody knows of it.
        assert min(fences) >= hop if pull else fences == [hop, hop]
    chaos.told_once()
    assert len(world.a.told) + len(world.b.told) == 6
