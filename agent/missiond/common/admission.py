# SPDX-License-Identifier: Apache-2.0
"""Limits on what may be under way at a time."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager


class Admission:
    """Lets so many in at a time, in all and of each key (a user, a connection); others wait or are refused.

        calls = Admission(lambda: TransactionFailed("too many calls wait"), most=48, each=16)
        with calls.place(uid): ...  # raises that error where no place is free
        async with calls.turn(uid): ...  # waits for a place; raises the error where `queue` of them wait

    Places that get free go to the keys that wait by turns: whoever waits for many keeps nobody waiting for
    long. The key None has no limit of its own.
    """

    def __init__(
        self,
        refusal: Callable[[], Exception],
        *,
        most: int = sys.maxsize,
        each: int = sys.maxsize,
        queue: int = sys.maxsize,
    ) -> None:
        self._refusal = refusal
        self._most = most
        self._each = each
        self._queue = queue
        self._inside: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        """By key; whose turn is next comes first."""

    def __len__(self) -> int:
        """Count the places that are taken."""
        return self._inside.total()

    @property
    def waiting(self) -> int:
        """Count of those that wait for a place."""
        return sum(map(len, self._waiting.values()))

    def enter(self, key: Hashable = None) -> None:
        """Take a place, to be given back by `leave`; raises the refusal where none is free."""
        if not self._is_free(key):
            raise self._refusal()
        self._inside[key] += 1

    def leave(self, key: Hashable = None) -> None:
        """Give a place back."""
        self._inside[key] -= 1
        if not self._inside[key]:
            del self._inside[key]
        self._pass_on()

    @contextmanager
    def place(self, key: Hashable = None) -> Iterator[None]:
        """Hold a place for as long as the block lasts; raises the refusal where none is free."""
        self.enter(key)
        try:
            yield
        finally:
            self.leave(key)

    @asynccontextmanager
    async def turn(self, key: Hashable = None) -> AsyncIterator[None]:
        """Hold a place for as long as the block lasts, and wait for it where none is free.

        Raises the refusal where too many wait.
        """
        if self._is_free(key):
            self._inside[key] += 1
        else:
            await self._wait(key)
        try:
            yield
        finally:
            self.leave(key)

    def _is_free(self, key: Hashable) -> bool:
        """Whether somebody new may come in, behind those who wait with the same key."""
        return len(self) < self._most and self._has_share(key) and key not in self._waiting

    def _has_share(self, key: Hashable) -> bool:
        return key is None or self._inside[key] < self._each

    async def _wait(self, key: Hashable) -> None:
        if self.waiting >= self._queue:
            raise self._refusal()
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self.leave(key)
            else:
                self._remove(key, given)
            raise

    def _remove(self, key: Hashable, given: asyncio.Future[None]) -> None:
        queue = self._waiting[key]
        queue.remove(given)
        if not queue:
            del self._waiting[key]

    def _pass_on(self) -> None:
        """Give free places to those who wait, one to each key in turn."""
        while len(self) < self._most:
            shares = [key for key in self._waiting if self._has_share(key)]
            if not shares:
                return
            key = shares[0]
            given = self._waiting[key][0]
            self._remove(key, given)
            if key in self._waiting:
                self._waiting.move_to_end(key)
            self._inside[key] += 1
            given.set_result(None)
