# SPDX-License-Identifier: Apache-2.0
"""The queue of inputs to the hand-over coordinator, and the timers of transfers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import Effect, Remove, SaveFence, SetTimer, Timer, Write

_LOGGER = logging.getLogger(__name__)

Input = Callable[[Coordinator], list[Effect]]
Tell = Callable[[Input], None]
"""Give the coordinator an input in turn."""


class _Waiting(NamedTuple):
    what: Input
    done: asyncio.Future[None]


class Executor:
    """Queue of inputs to the coordinator; executes all effects of one, in order, before the next input."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self._perform: Callable[[Effect], Awaitable[None]]
        self._after: Callable[[], None]
        self._inputs: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    def serve(self, perform: Callable[[Effect], Awaitable[None]], after: Callable[[], None]) -> None:
        """Have effects executed by `perform`; `after` is called when everything was done for an input.

        `perform` raises OSError for a Write, SaveFence or Remove that failed, and nothing else; effects that
        report are only begun.
        """
        self._perform, self._after = perform, after

    def tell(self, what: Input) -> None:
        """Queue an input without waiting; a failure is logged."""
        self._put(what).add_done_callback(_report)

    async def ask(self, what: Input) -> None:
        """Queue an input, and return after all effects; raises the errors of `what`."""
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
            await self._execute(waiting.what(self.coordinator))
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
                await self._execute(self.coordinator.write_failed(effect, reason))


def _name(effect: Effect) -> str:
    return "its fence" if isinstance(effect, SaveFence) else type(effect).__name__


def _report(done: asyncio.Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _LOGGER.error("a hand-over failed unexpectedly", exc_info=error)


class HandoverTimers:
    """Timers of transfers, at most one of a kind each; `expired` is called from the loop."""

    def __init__(self, expired: Callable[[str, Timer], None]) -> None:
        self._expired = expired
        self._running: dict[tuple[str, Timer], asyncio.TimerHandle] = {}

    def set(self, effect: SetTimer) -> None:
        """Set a timer in place of an earlier one, or stop the earlier one."""
        key = effect.transfer, effect.timer
        self._stop(key)
        if effect.after is not None:
            loop = asyncio.get_running_loop()
            self._running[key] = loop.call_later(effect.after / 1000, self._ring, key)

    def forget(self, transfer: str) -> None:
        """Stop all timers of a transfer."""
        for timer in Timer:
            self._stop((transfer, timer))

    def close(self) -> None:
        """Stop all timers."""
        for key in list(self._running):
            self._stop(key)

    def _ring(self, key: tuple[str, Timer]) -> None:
        del self._running[key]
        self._expired(*key)

    def _stop(self, key: tuple[str, Timer]) -> None:
        handle = self._running.pop(key, None)
        if handle is not None:
            handle.cancel()
