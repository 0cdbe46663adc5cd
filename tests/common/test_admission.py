# SPDX-License-Identifier: Apache-2.0
"""Limits on what may be under way at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st

from missiond.common.admission import Admission


class Full(Exception):
    """No place is free."""


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


class Visitors:
    """Hold their places until told to leave, and note who came in in which order."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.came: list[object] = []
        self.leaving: dict[object, list[asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def _visit(self, key: object) -> None:
        async with self.admission.turn(key):
            self.came.append(key)
            leave = asyncio.Event()
            self.leaving.setdefault(key, []).append(leave)
            await leave.wait()

    async def come(self, *keys: object) -> None:
        self.tasks += [asyncio.ensure_future(self._visit(key)) for key in keys]
        await settled()

    async def leave(self, key: object) -> None:
        self.leaving[key].pop(0).set()
        await settled()


MakeVisitors = Callable[[Admission], Visitors]


@pytest.fixture
async def visitors_of() -> AsyncIterator[MakeVisitors]:
    """Make visitors, and have them leave when the test is over."""
    made: list[Visitors] = []

    def make(admission: Admission) -> Visitors:
        made.append(Visitors(admission))
        return made[-1]

    yield make
    for visitors in made:
        for task in visitors.tasks:
            task.cancel()
        await asyncio.gather(*visitors.tasks, return_exceptions=True)


def test_so_many_in_all_and_of_each() -> None:
    admission = Admission(Full, most=3, each=2)
    with ExitStack() as stack:
        stack.enter_context(admission.place("a"))
        with admission.place("a"):
            with pytest.raises(Full), admission.place("a"):
                pass
            stack.enter_context(admission.place("b"))
            with pytest.raises(Full), admission.place("c"):
                pass
        with admission.place("c"):
            assert len(admission) == 3
        assert len(admission) == 2
    assert len(admission) == 0


def test_nobodys_key_has_no_limit_of_its_own() -> None:
    admission = Admission(Full, most=3, each=1)
    with admission.place(), admission.place(), admission.place(), pytest.raises(Full), admission.place():
        pass


async def test_whoever_waits_comes_in_by_turns_of_keys(visitors_of: MakeVisitors) -> None:
    visitors = visitors_of(Admission(Full, most=1))
    await visitors.come("a", "a", "a", "b", "c")
    assert visitors.came == ["a"]
    for key in ("a", "a", "b", "c"):
        await visitors.leave(key)
    assert visitors.came == ["a", "a", "b", "c", "a"]
    await visitors.leave("a")
    assert (len(visitors.admission), visitors.admission.waiting) == (0, 0)


async def test_one_key_at_its_limit_keeps_no_other_waiting(visitors_of: MakeVisitors) -> None:
    visitors = visitors_of(Admission(Full, most=3, each=1))
    await visitors.come("a", "a", "a", "b")
    assert visitors.came == ["a", "b"]
    await visitors.leave("a")
    assert visitors.came == ["a", "b", "a"]


async def test_the_queue_has_an_end(visitors_of: MakeVisitors) -> None:
    visitors = visitors_of(Admission(Full, most=1, queue=1))
    await visitors.come("a", "b", "c")
    with pytest.raises(Full):
        await visitors.tasks[2]
    await visitors.leave("a")
    assert visitors.came == ["a", "b"]


async def test_a_new_one_does_not_overtake_its_own(visitors_of: MakeVisitors) -> None:
    admission = Admission(Full, most=1)
    visitors = visitors_of(admission)
    await visitors.come("a", "a")
    with pytest.raises(Full), admission.place("a"):
        pass


@pytest.mark.parametrize("given", [False, True])
async def test_whoever_gives_up_costs_no_place(visitors_of: MakeVisitors, given: bool) -> None:
    visitors = visitors_of(Admission(Full, most=1))
    await visitors.come("a", "b", "c")
    if given:
        visitors.leaving["a"].pop().set()
        while visitors.admission.waiting == 2:
            await asyncio.sleep(0)
        visitors.tasks[1].cancel()
        await settled()
    else:
        visitors.tasks[1].cancel()
        await visitors.leave("a")
    assert visitors.came[-1] == "c"
    assert len(visitors.admission) == 1


class Dialogs:
    """Places that are taken back, held until the test ends one; `held` has person and key."""

    def __init__(self, most: int, each: int) -> None:
        self.places = Admission(Full, most=most, each=each, take_back=True)
        self.held: dict[int, int] = {}
        self.lost: list[tuple[int, int]] = []
        self.visits: dict[int, asyncio.Task[None]] = {}

    async def _visit(self, key: int, person: int) -> None:
        async with self.places.turn(person) as taken_back:
            self.held[key] = person
            try:
                await taken_back.wait()
                self.lost.append((person, key))
            finally:
                del self.held[key]

    async def ask(self, key: int, person: int) -> None:
        self.visits[key] = asyncio.get_running_loop().create_task(self._visit(key, person))
        await settled()

    async def end(self, key: int) -> None:
        self.visits.pop(key).cancel()
        await settled()


async def test_eight_people_who_never_answer_leave_room_for_a_ninth() -> None:
    dialogs = Dialogs(32, 8)
    for person in range(8):
        for number in range(4):
            await dialogs.ask(10 * person + number, person)
    assert Counter(dialogs.held.values()) == dict.fromkeys(range(8), 4)
    for number in range(4):
        await dialogs.ask(90 + number, 9)
    # the latest of those with most; who may have been asked for longest keeps the dialog
    assert dialogs.lost == [(0, 3), (1, 13), (2, 23)]
    assert Counter(dialogs.held.values())[9] == 3
    await dialogs.end(92)
    assert 93 in dialogs.held
    for key in list(dialogs.visits):
        await dialogs.end(key)
    assert len(dialogs.places) == 0


@given_by(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_there_is_room_for_who_has_little(steps: list[tuple[bool, int]]) -> None:
    async def play() -> None:
        dialogs = Dialogs(6, 3)
        asked: dict[int, int] = {}
        for key, (begins, person) in enumerate(steps):
            if begins:
                asked[key] = person
                await dialogs.ask(key, person)
            elif (mine := next((each for each, whose in asked.items() if whose == person), None)) is not None:
                del asked[mine]
                await dialogs.end(mine)
            for lost in dialogs.lost:
                asked.pop(lost[1], None)
            counts = Counter(dialogs.held.values())
            assert len(dialogs.places) == len(dialogs.held) <= 6
            assert max(counts.values(), default=0) <= 3
            waiting = {whose for each, whose in asked.items() if each not in dialogs.held}
            for each in waiting:
                full = len(dialogs.held) == 6
                assert counts[each] == 3 or (full and max(counts.values()) < counts[each] + 2)
        for task in dialogs.visits.values():
            task.cancel()
        await asyncio.gather(*dialogs.visits.values(), return_exceptions=True)
        assert len(dialogs.places) == 0

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(play())
