# SPDX-License-Identifier: Apache-2.0
"""Work that may come in heaps, done a little at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator

_LOGGER = logging.getLogger(__name__)
SLICE = 0.005
"""Seconds of such work in one turn of the loop; calls and everything else come in between."""

Piece = Callable[[], Iterator[None] | None]
"""A piece of work; one that returns an iterator goes on with it, each step of which is a piece again."""


class SlicedQueue:
    """Does work in the order in which it comes: at once, or in later turns where there is much.

    Work of different keys (users, for example) is done by turns. `rest` is seconds between two slices in
    which nothing of it is done.
    """

    def __init__(self, slice_: float = SLICE, rest: float = 0.0) -> None:
        self._slice = slice_
        self._rest = rest
        self._queues: OrderedDict[Hashable, deque[Piece]] = OrderedDict()
        """Whose turn is next comes first."""
        self._count = 0
        self._spent = 0.0
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many pieces wait."""
        return self._count

    def waiting(self, key: Hashable) -> int:
        """How many pieces of this key wait."""
        return len(self._queues.get(key, ()))

    def add(self, piece: Piece, key: Hashable = None) -> None:
        """Have it done; one that raises is logged."""
        if self._count or self._spent >= self._slice:
            self._put(piece, key)
        else:
            self._do(piece, key)

    def hurry(self, seconds: float) -> None:
        """Do what waits, for so long at most."""
        end = time.monotonic() + seconds
        while self._count and time.monotonic() < end:
            self._next()

    def close(self) -> None:
        """Do what waits no more."""
        self._queues.clear()
        self._count = 0
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _put(self, piece: Piece, key: Hashable, *, first: bool = False) -> None:
        queue = self._queues.setdefault(key, deque())
        (queue.appendleft if first else queue.append)(piece)
        self._count += 1

    def _next(self) -> None:
        key, queue = next(iter(self._queues.items()))
        piece = queue.popleft()
        self._count -= 1
        if queue:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]
        self._do(piece, key)

    def _do(self, piece: Piece, key: Hashable) -> None:
        self._schedule()
        begun = time.monotonic()
        try:
            more = piece()
            goes_on = more is not None and next(more, more) is not more
        except Exception:
            _LOGGER.exception("a piece of work failed")
        else:
            if goes_on:
                self._put(lambda: more, key, first=True)
        self._spent += time.monotonic() - begun

    def _schedule(self) -> None:
        if self._handle is None:
            loop = asyncio.get_running_loop()
            if self._rest:
                self._handle = loop.call_later(self._rest, self._turn)
            else:
                self._handle = loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._handle = None
        self._spent = 0.0
        while self._count and self._spent < self._slice:
            self._next()
