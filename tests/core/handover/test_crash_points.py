# SPDX-License-Identifier: Apache-2.0
"""Every point at which something can break, in every kind of hand-over: nothing is lost, nothing runs twice.

The points are counted by running the hand-over, before and after each thing that is done; at each, either
daemon dies or the link breaks, and is back at once or only after all time limits are over. `pytest -s` prints
what came of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from missiond.core.handover.record import Phase
from standins.worlds.handover_host import Host
from standins.worlds.handover_world import A, B, Behaviour, World

pytestmark = pytest.mark.slow

IDLE = ("SetTimer", "Progress", "Installing", "TellState", "Forget")
"""What changes nothing outside the daemon."""
FAULTS = ("source dies", "target dies", "link breaks")
DECIDED = 3_000
"""Ms until all is decided, once both daemons and the link are there again."""
Ask = Callable[[World], None]


@dataclass(frozen=True)
class Plan:
    """One kind of hand-over."""

    name: str
    ask: Ask
    behaviour: Behaviour


def _push(world: World) -> None:
    world.push()


def _pull(world: World) -> None:
    world.pull()


_KINDS = {
    "continue": Behaviour(),
    "keep-source": Behaviour(keep_source=True),
    "not installed": Behaviour(check=16300503),
    "installed first": Behaviour(install=(0, 60)),
    "installation fails": Behaviour(install=(0,), check=16300504),
    "owner refuses": Behaviour(owner="refuses"),
    "owner silent": Behaviour(owner="silent"),
    "owner silent, relaunch": Behaviour(owner="silent", relaunch=True),
    "no owner, relaunch": Behaviour(owner="none", relaunch=True),
    "owner dies": Behaviour(owner="dies"),
    "stop fails": Behaviour(stop_fails=True),
    "start fails": Behaviour(start=16300501),
    "start fails, kept": Behaviour(start=16300501, keep_source=True),
    "ends early": Behaviour(ends_early=True),
    "ends early, kept": Behaviour(ends_early=True, keep_source=True),
}
PLANS = [
    Plan(f"{verb} {name}", ask, behaviour)
    for verb, ask in (("push", _push), ("pull", _pull))
    for name, behaviour in _KINDS.items()
]


def points(plan: Plan) -> list[str]:
    """Run it undisturbed and return the name of each point."""
    world = World(plan.behaviour)
    found: list[str] = []

    def note(host: Host, label: str, when: str) -> None:
        if label not in IDLE:
            found.append(f"{when} {'source' if host.name == A else 'target'}: {label}")

    world.at_point = note
    plan.ask(world)
    world.run()
    return found


def struck(plan: Plan, number: int, fault: str, late: bool) -> World:
    """Run it with one fault at one point, then heal."""
    world = World(plan.behaviour)
    seen = 0

    def strike(host: Host, label: str, when: str) -> None:
        nonlocal seen
        if label in IDLE:
            return
        if seen == number:
            if fault == "link breaks":
                world.cut()
            else:
                world.hosts[A if fault == "source dies" else B].die()
        seen += 1

    world.at_point = strike
    plan.ask(world)
    while seen <= number and world.step():
        pass
    assert seen > number, "the fault did not happen"
    if late:
        world.run(120_000)
    world.heal()
    healed = world.now
    while not decided(world) and world.step():
        pass
    if "silent" not in plan.name:  # nobody can hurry a program that is asked
        assert world.now - healed <= DECIDED, [host.coordinator.in_flight() for host in (world.a, world.b)]
    world.run()
    return world


def decided(world: World) -> bool:
    """Whether nobody waits for anything but the word that the other side knows how it ended."""
    ended = (Phase.STARTED, Phase.FAILED)
    flying = [each for host in (world.a, world.b) for each in host.coordinator.in_flight()]
    return all(each.record.phase in ended for each in flying)


def outcome(world: World) -> str:
    """Say what came of it, after seeing that it may be so."""
    behaviour = world.behaviour
    where = sorted(process.host[0] for process in world.processes)
    told = world.a.told + world.b.told
    assert world.settled()
    assert len(set(told)) <= 1, told
    assert len(told) <= 2, told
    if told:
        success = told[0][1] == 0
    else:
        success = False
        assert not (world.b.settled if behaviour.ends_early else world.b.started), "a caller was not told"
    if behaviour.keep_source:
        assert where == (["a", "b"] if success else ["a"])
    elif behaviour.owner == "dies":
        assert len(where) <= 1
        assert not success
    else:
        assert where == (["b"] if success else ["a"])
    words = "+".join({"a": "source", "b": "target"}[name] for name in where) or "ended"
    code = str(told[0][1]) if told else "call failed"
    return f"runs at {words}, told {code}" + (", the same twice" if len(told) == 2 else "")


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_whatever_breaks_wherever_one_instance_runs_and_the_caller_hears_of_it(plan: Plan) -> None:
    found = points(plan)
    outcomes = {}
    for number, name in enumerate(found):
        for fault in FAULTS:
            for late in (False, True):
                outcomes[number, fault, late] = result = outcome(struck(plan, number, fault, late))
                back = "late" if late else "soon"
                print(f"{plan.name:28} {number:3} {name:34} {fault:12} {back} -> {result}")
                if "twice" in result:
                    told = name if name.endswith("TellDone") else found[number - 1]
                    assert told in {"after source: TellDone", "after target: TellDone"}, name
    print(f"{plan.name}: {len(found)} points, {len(outcomes)} runs")


@pytest.mark.parametrize("ask", [_push, _pull], ids=["push", "pull"])
@pytest.mark.parametrize("heal_first", [False, True])
def test_what_is_in_doubt_can_be_reclaimed_and_a_fault_meanwhile_changes_nothing(
    ask: Ask, heal_first: bool
) -> None:
    plan = Plan("reclaim", ask, Behaviour())
    reclaimed = doubled = runs = 0
    for first in range(len(points(plan))):
        second = 0
        while True:
            world, struck_again = _reclaimed(plan, first, second, heal_first)
            runs += 1
            if world.reclaimed:
                reclaimed += 1
                doubled += _after_reclaim(world)
            else:
                outcome(world)
            if not struck_again:
                break
            second += 1
    print(f"reclaim: {runs} runs, {reclaimed} with something to reclaim, {doubled} of which ran on both")
    assert reclaimed > doubled > 0


def _reclaimed(plan: Plan, first: int, second: int, heal_first: bool) -> tuple[World, bool]:
    """Break the link at one point, reclaim, and let the daemons die in turn at a later one."""
    world = World(plan.behaviour)
    ahead: int | None = first
    struck_again = False

    def strike(host: Host, label: str, when: str) -> None:
        nonlocal ahead, struck_again
        if label in IDLE or ahead is None:
            return
        ahead -= 1
        if ahead < 0:
            ahead = None
            struck_again = world.reclaimed
            if struck_again:
                host.die()
            else:
                world.cut()

    world.at_point = strike
    plan.ask(world)
    world.run(120_000)
    ahead = second
    if heal_first:
        world.join()  # the words of the two cross
    if not world.reclaim():
        ahead = None
    world.run(120_000)
    for _ in range(2):  # the fault may strike while the first heals
        world.heal()
        world.run()
    return world, struck_again


def _after_reclaim(world: World) -> bool:
    assert world.settled()
    assert len({code for host in world.hosts.values() for _, code in host.told}) <= 1 + bool(world.b.told)
    where = [process.host for process in world.processes]
    assert where in ([A], [A, B], [B, A]) or (
        where == [B] and not world.a.doubled
    )  # it died before it was written
    assert (world.b.doubled > 0) == (len(where) == 2), "people are not warned"
    return len(where) == 2
