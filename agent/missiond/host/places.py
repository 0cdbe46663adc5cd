# SPDX-License-Identifier: Apache-2.0
"""So many at a time; of those who wait, people come by turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """A semaphore of `most` places: however many one person waits for, another's is among the next."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: OrderedDict[int, deque[asyncio.Future[None]]] = OrderedDict()
        """By person; whose turn is next comes first."""

    @asynccontextmanager
    async def one(self, person: int) -> AsyncIterator[None]:
        """Have a place for as long as the block lasts."""
        await self._take(person)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, person: int) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(person, deque()).append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give a place to the next who still wants one."""
        while self._waiting:
            person, queue = self._waiting.popitem(last=False)
            given = queue.popleft()
            if queue:
                self._waiting[person] = queue  # behind all others
            if not given.done():
                given.set_result(None)
                return
        self._free += 1
