# SPDX-License-Identifier: Apache-2.0
"""Limits on calls, tasks and the like under way at a time."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager


class Admission:
    """Lets so many in at a time, in all and of each key (a user, a connection); others wait or are refused.

        calls = Admission(lambda: TransactionFailed("too many calls wait"), most=48, each=16)
        with calls.place(uid): ...  # raises that error where no place is free
        async with calls.turn(uid): ...  # waits for a place; raises the error where `queue` of them wait

    Places that get free go to the keys that wait by turns: whoever waits for many keeps nobody waiting for
    long. With `take_back`, where all places are taken, a key with few gets the place of one with at least two
    more. The key None has no limit of its own.
    """

    def __init__(
        self,
        refusal: Callable[[], Exception],
        *,
        most: int = sys.maxsize,
        each: int = sys.maxsize,
        queue: int = sys.maxsize,
        take_back: bool = False,
    ) -> None:
        self._refusal = refusal
        self._most = most
        self._each = each
        self._queue = queue
        self._take_back = take_back
        self._held: dict[Hashable, list[asyncio.Event]] = {}
        """By key; the longest held comes first."""
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[asyncio.Event]]] = OrderedDict()
        """By key; whose turn is next comes first."""

    def __len__(self) -> int:
        """Count the taken places."""
        return sum(map(len, self._held.values()))

    @property
    def waiting(self) -> int:
        """Count of visitors without a place."""
        return sum(map(len, self._waiting.values()))

    @contextmanager
    def place(self, key: Hashable = None) -> Iterator[None]:
        """Hold a place for as long as the block lasts; raises the refusal where none is free."""
        if not self._is_free(key):
            raise self._refusal()
        place = self._give(key)
        try:
            yield
        finally:
            self._leave(key, place)

    @asynccontextmanager
    async def turn(self, key: Hashable = None) -> AsyncIterator[asyncio.Event]:
        """Hold a place for as long as the block lasts, after waiting for a free one.

        The event is set when the place is taken back. Raises the refusal where too many wait.
        """
        place = self._give(key) if self._is_free(key) else await self._wait(key)
        try:
            yield place
        finally:
            self._leave(key, place)

    def _is_free(self, key: Hashable) -> bool:
        """Whether somebody new may come in, behind those who wait with the same key."""
        return len(self) < self._most and self._count(key) < self._each and key not in self._waiting

    def _count(self, key: Hashable) -> int:
        """Return how much of its share a key has."""
        return 0 if key is None else len(self._held.get(key, ()))

    def _give(self, key: Hashable) -> asyncio.Event:
        place = asyncio.Event()
        self._held.setdefault(key, []).append(place)
        return place

    def _leave(self, key: Hashable, place: asyncio.Event) -> None:
        held = self._held.get(key, [])
        if place in held:  # not taken back
            held.remove(place)
            if not held:
                del self._held[key]
        self._fill()

    async def _wait(self, key: Hashable) -> asyncio.Event:
        if self.waiting >= self._queue:
            raise self._refusal()
        given: asyncio.Future[asyncio.Event] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(given)
        self._fill()
        try:
            return await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._leave(key, given.result())
            else:
                self._remove(key, given)
            raise

    def _remove(self, key: Hashable, given: asyncio.Future[asyncio.Event]) -> None:
        queue = self._waiting.get(key, deque())
        if given in queue:
            queue.remove(given)
            if not queue:
                del self._waiting[key]

    def _fill(self) -> None:
        """Give places to those whose turn it is, for as long as there are any."""
        while ready := self._next():
            [key] = ready
            given = self._waiting[key][0]
            self._remove(key, given)
            if key in self._waiting:
                self._waiting.move_to_end(key)
            if given.done():
                continue  # given up just now
            if len(self) >= self._most:
                self._take_one_back()
            given.set_result(self._give(key))

    def _next(self) -> list[Hashable]:
        """Return the key that may have a place now, if there is one."""
        is_full = len(self) >= self._most
        if is_full and not self._take_back:
            return []
        most = max(map(len, self._held.values()), default=0)
        for key in self._waiting:
            held = self._count(key)
            if held < self._each and (not is_full or most >= held + 2):
                return [key]
        return []

    def _take_one_back(self) -> None:
        """Take the latest place of the key with most: those held longest stay."""
        most = max(self._held, key=lambda key: len(self._held[key]))
        self._held[most].pop().set()
