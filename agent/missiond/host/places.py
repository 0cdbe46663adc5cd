# SPDX-License-Identifier: Apache-2.0
"""Places for so many at a time, and so many of one person; people wait by turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_Waiting = asyncio.Future[asyncio.Event]


class Places:
    """Semaphore of `most` places, with at most `each` for one person at a time.

    However many one person waits for, another's is among the next. With `take_back`, where all places are
    taken, a person with few gets the place of one with at least two more.
    """

    def __init__(self, most: int, each: int, *, take_back: bool = False) -> None:
        self._most = most
        self._each = each
        self._take_back = take_back
        self._held: dict[int, list[asyncio.Event]] = {}
        """By person; the longest held comes first."""
        self._waiting: OrderedDict[int, deque[_Waiting]] = OrderedDict()
        """By person; the person whose turn is next comes first."""

    def __len__(self) -> int:
        """How many places are taken."""
        return sum(map(len, self._held.values()))

    @asynccontextmanager
    async def one(self, person: int) -> AsyncIterator[asyncio.Event]:
        """Have a place for as long as the block lasts; the event is set when the place was taken back."""
        place = await self._take(person)
        try:
            yield place
        finally:
            self._leave(person, place)

    async def _take(self, person: int) -> asyncio.Event:
        given: _Waiting = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(person, deque()).append(given)
        self._fill()
        try:
            return await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._leave(person, given.result())
            else:
                self._forget(person, given)
            raise

    def _leave(self, person: int, place: asyncio.Event) -> None:
        held = self._held.get(person, [])
        if place in held:  # not taken back
            held.remove(place)
            if not held:
                del self._held[person]
        self._fill()

    def _forget(self, person: int, given: _Waiting) -> None:
        queue = self._waiting.get(person)
        if queue is not None and given in queue:
            queue.remove(given)
            if not queue:
                del self._waiting[person]

    def _fill(self) -> None:
        """Give places to those whose turn it is, for as long as there are any."""
        while (person := self._next()) is not None:
            queue = self._waiting.pop(person)
            given = queue.popleft()
            if queue:
                self._waiting[person] = queue  # behind all others
            if given.done():
                continue
            if len(self) >= self._most:
                self._take_one_back()
            place = asyncio.Event()
            self._held.setdefault(person, []).append(place)
            given.set_result(place)

    def _next(self) -> int | None:
        """Who may have a place now."""
        full = len(self) >= self._most
        if full and not self._take_back:
            return None
        most = max(map(len, self._held.values()), default=0)
        for person in self._waiting:
            held = len(self._held.get(person, ()))
            if held < self._each and (not full or most >= held + 2):
                return person
        return None

    def _take_one_back(self) -> None:
        """Take the latest place of whoever has most: the longest held keep what they have."""
        most = max(self._held, key=lambda person: len(self._held[person]))
        self._held[most].pop().set()
