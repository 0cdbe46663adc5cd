# SPDX-License-Identifier: Apache-2.0
"""Inputs of the book of hand-overs, one after the other, each with all that is to be done for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from missiond.core.handover.coordinator import Coordinator as Book
from missiond.core.handover.effects import Effect, Remove, SaveFence, Write

_LOGGER = logging.getLogger(__name__)

Input = Callable[[Book], list[Effect]]
Tell = Callable[[Input], None]
"""Tell the book something, when it is its turn."""


class _Waiting(NamedTuple):
    what: Input
    done: asyncio.Future[None]


class Executor:
    """Effects are executed by `perform`, in their order, and all of an input before the next input.

    `perform` raises OSError for a Write, SaveFence or Remove that failed, and nothing else; effects that
    report it begins only.
    """

    def __init__(
        self, book: Book, perform: Callable[[Effect], Awaitable[None]], after: Callable[[], None]
    ) -> None:
        """:param after: called when everything was done for an input."""
        self._book = book
        self._perform = perform
        self._after = after
        self._inputs: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    def tell(self, what: Input) -> None:
        """Tell the book when it is its turn; nobody waits."""
        self._put(what).add_done_callback(_report)

    async def ask(self, what: Input) -> None:
        """Tell the book, and return when all was done for that; raises what `what` raises."""
        await asyncio.shield(self._put(what))

    def close(self) -> None:
        """Do nothing more."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()
        for waiting in self._inputs:
            waiting.done.cancel()
        self._inputs.clear()

    def _put(self, what: Input) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if self._closed:
            done.cancel()
            return done
        self._inputs.append(_Waiting(what, done))
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return done

    async def _work(self) -> None:
        try:
            while self._inputs:
                await self._one(self._inputs.popleft())
        finally:
            self._worker = None

    async def _one(self, waiting: _Waiting) -> None:
        try:
            await self._execute(waiting.what(self._book))
        except asyncio.CancelledError:
            waiting.done.cancel()
            raise
        except Exception as error:  # noqa: BLE001 (goes to whoever asked)
            if not waiting.done.done():
                waiting.done.set_exception(error)
        else:
            if not waiting.done.done():
                waiting.done.set_result(None)
        self._after()

    async def _execute(self, effects: list[Effect]) -> None:
        failed: set[str] = set()
        for effect in effects:
            if effect.transfer in failed:
                continue
            try:
                await self._perform(effect)
            except OSError as error:
                _LOGGER.error("hand-over %s: %s failed: %s", effect.transfer, _name(effect), error)
                if not isinstance(effect, Write | Remove):
                    continue
                failed.add(effect.transfer)
                reason = error.strerror or str(error)
                await self._execute(self._book.write_failed(effect, reason))


def _name(effect: Effect) -> str:
    return "its fence" if isinstance(effect, SaveFence) else type(effect).__name__


def _report(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _LOGGER.error("a hand-over failed unexpectedly", exc_info=error)
