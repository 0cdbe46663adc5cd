# SPDX-License-Identifier: Apache-2.0
"""People wait by turns, and who has little always gets something."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from missiond.host.places import Places


class Room:
    """Notes who was in it, one at a time; each stays until it is told to go."""

    def __init__(self, most: int = 1, each: int = 8) -> None:
        self.places = Places(most, each)
        self.came: list[int] = []
        self.go = asyncio.Event()

    async def visit(self, person: int) -> None:
        async with self.places.one(person):
            self.came.append(person)
            await self.go.wait()

    def enter(self, *persons: int) -> list[asyncio.Task[None]]:
        return [asyncio.get_running_loop().create_task(self.visit(person)) for person in persons]


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_however_many_one_waits_for_another_is_next() -> None:
    room = Room()
    visits = room.enter(1, 1, 1, 1, 2, 3, 2)
    await _settled()
    assert room.came == [1]
    room.go.set()
    await asyncio.gather(*visits)
    assert room.came == [1, 1, 2, 3, 1, 2, 1]


async def test_so_many_at_a_time() -> None:
    room = Room(2)
    visits = room.enter(1, 2, 3)
    await _settled()
    assert room.came == [1, 2]
    room.go.set()
    await asyncio.gather(*visits)
    assert room.came == [1, 2, 3]


async def test_who_gives_up_waiting_keeps_no_place() -> None:
    room = Room()
    first, second, third = room.enter(1, 2, 3)
    await _settled()
    second.cancel()
    await _settled()
    room.go.set()
    await asyncio.gather(first, third)
    assert room.came == [1, 3]
    await asyncio.wait_for(room.visit(4), 10)


async def test_who_gives_up_just_as_it_is_the_turn_passes_it_on() -> None:
    room = Room()
    first, second, third = room.enter(1, 2, 3)
    await _settled()
    first.cancel()
    while not first.done():
        await asyncio.sleep(0)
    second.cancel()
    room.go.set()
    await asyncio.wait_for(third, 10)
    assert second.cancelled()
    assert room.came == [1, 3]


async def test_so_many_of_one_person() -> None:
    room = Room(4, 2)
    visits = room.enter(1, 1, 1, 1, 2, 2, 2)
    await _settled()
    assert room.came == [1, 1, 2, 2]
    room.go.set()
    await asyncio.gather(*visits)
    assert Counter(room.came) == {1: 4, 2: 3}


class Dialogs:
    """Places that are taken back, held until the test ends one; `held` has person and key."""

    def __init__(self, most: int, each: int) -> None:
        self.places = Places(most, each, take_back=True)
        self.held: dict[int, int] = {}
        self.lost: list[tuple[int, int]] = []
        self.visits: dict[int, asyncio.Task[None]] = {}

    async def _visit(self, key: int, person: int) -> None:
        async with self.places.one(person) as taken_back:
            self.held[key] = person
            try:
                await taken_back.wait()
                self.lost.append((person, key))
            finally:
                del self.held[key]

    async def ask(self, key: int, person: int) -> None:
        self.visits[key] = asyncio.get_running_loop().create_task(self._visit(key, person))
        await _settled()

    async def end(self, key: int) -> None:
        self.visits.pop(key).cancel()
        await _settled()


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


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
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

    asyncio.run(play())
