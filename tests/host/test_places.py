# SPDX-License-Identifier: Apache-2.0
"""People wait by turns."""

from __future__ import annotations

import asyncio

from missiond.host.places import Places


class Room:
    """Notes who was in it, one at a time; each stays until it is told to go."""

    def __init__(self, most: int = 1) -> None:
        self.places = Places(most)
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
