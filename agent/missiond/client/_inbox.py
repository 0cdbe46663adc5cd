# SPDX-License-Identifier: Apache-2.0
"""Queue of news for one reader."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from missiond.errors import Error

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Queue of one reader; a failure is raised after all earlier items."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Item | Error] = asyncio.Queue()

    def put(self, item: Item) -> None:
        """Add an item."""
        self._queue.put_nowait(item)

    def fail(self, error: Error) -> None:
        """Let nothing more come."""
        self._queue.put_nowait(error)

    async def get(self) -> Item:
        """Return the next item."""
        item = await self._queue.get()
        if isinstance(item, Error):
            self._queue.put_nowait(item)
            raise item
        return item

    def clear(self) -> bool:
        """Drop waiting items except for an error; return whether there were any."""
        waiting = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        for item in waiting:
            if isinstance(item, Error):
                self._queue.put_nowait(item)
        return bool(waiting)
