# SPDX-License-Identifier: Apache-2.0
"""Heaps of work, done a little at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Hashable, Iterator
from functools import partial
from typing import TypeVar

_LOGGER = logging.getLogger(__name__)
SLICE = 0.005
"""Seconds of such work in one turn of the loop; calls and everything else come in between."""

T = TypeVar("T")
Piece = Callable[[], Iterator[None] | None]
"""A piece of work; a returned iterator stands for more pieces, one for each step."""


def at_once(steps: Generator[None, None, T]) -> T:
    """Do all steps now, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class SlicedQueue:
    """Work in order of arrival: done at once, or in later turns where there is much.

    Work of different keys (users, for example) is done by turns. `rest` is seconds between two slices in
    which nothing of it is done. Work that is added by a piece is done after that piece.
    """

    def __init__(self, slice_: float = SLICE, rest: float = 0.0) -> None:
        self._slice = slice_
        self._rest = rest
        self._queues: OrderedDict[Hashable, deque[Piece]] = OrderedDict()
        """Whose turn is next comes first."""
        self._count = 0
        self._spent = 0.0
        self._is_working = False
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many pieces wait."""
        return self._count

    def waiting(self, key: Hashable) -> int:
        """How many pieces of this key wait."""
        return len(self._queues.get(key, ()))

    def add(self, piece: Piece, key: Hashable = None) -> None:
        """Do a piece of work, now or later; a failing one is logged."""
        is_idle = not self._count and not self._is_working
        self._put(piece, key)
        if is_idle:
            self._work()

    async def result(self, steps: Generator[None, None, T], key: Hashable = None) -> T:
        """Have the steps done in the turns of a key, and return the result; raises errors of the steps."""
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def piece() -> Iterator[None]:
            try:
                value = yield from steps
            except Exception as error:
                if result.cancelled():
                    raise
                result.set_exception(error)
            else:
                if not result.cancelled():
                    result.set_result(value)

        self.add(piece, key)
        return await result

    def after_all(self, done: Callable[[], None]) -> None:
        """Call back once everything in the queue now was done."""
        left = len(self._queues)

        def key_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                done()

        if not left:
            done()
        for key in list(self._queues):
            self._put(key_done, key)

    def hurry(self, seconds: float) -> None:
        """Do waiting work, for so long at most."""
        end = time.monotonic() + seconds
        while self._count and time.monotonic() < end:
            self._next()

    def close(self) -> None:
        """Drop the waiting work."""
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
        begun = time.monotonic()
        self._is_working = True
        try:
            more = piece()
            goes_on = more is not None and next(more, more) is not more
        except Exception:
            _LOGGER.exception("a piece of work failed")
        else:
            if goes_on:
                self._put(lambda: more, key, first=True)
        finally:
            self._is_working = False
        self._spent += time.monotonic() - begun

    def _work(self) -> None:
        while self._count and self._spent < self._slice:
            self._next()
        if self._handle is None:  # only now, so that it rests for all of that time
            loop = asyncio.get_running_loop()
            later = partial(loop.call_later, self._rest) if self._rest else loop.call_soon
            self._handle = later(self._turn)

    def _turn(self) -> None:
        self._handle = None
        self._spent = 0.0
        if self._count:
            self._work()
