# SPDX-License-Identifier: Apache-2.0
"""Work requested often and done now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterator

from missiond.common.time_slice import SlicedQueue

_LOGGER = logging.getLogger(__name__)
SHARE = 4
"""The work may take one part of the time for each so many parts of rest."""
LONGEST = 0.5


class Debouncer:
    """Work done once, soon after a request, and followed by a rest in proportion to the length.

    `delay` is seconds from the first request to the work; a storm of requests makes it 0.5 s at most.
    """

    def __init__(self, work: Callable[[], None], delay: float) -> None:
        self._work = work
        self._delay = delay
        self._rested = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Request the work."""
        if self._handle is None:
            wait = max(self._delay, self._rested - time.monotonic())
            self._handle = asyncio.get_running_loop().call_later(wait, self._run)

    def close(self) -> None:
        """Drop the request."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        begun = time.monotonic()
        try:
            self._work()
        except Exception:
            _LOGGER.exception("paced work failed")
        now = time.monotonic()
        self._rested = now + min(LONGEST, SHARE * (now - begun))


class SlicedDebouncer(Debouncer):
    """Work of many steps, done by a queue in the turns of `key`; the rest begins after the last step."""

    def __init__(
        self, work: Callable[[], Iterator[None]], delay: float, queue: SlicedQueue, key: Hashable
    ) -> None:
        super().__init__(lambda: None, delay)
        self._steps = work
        self._queue = queue
        self._key = key
        self._is_busy = self._is_asked = self._is_closed = False

    def ask(self) -> None:
        """Request the work, once more where the work has begun."""
        if self._is_busy:
            self._is_asked = True
        elif not self._is_closed:
            super().ask()

    def close(self) -> None:
        """Drop the request."""
        self._is_closed, self._is_asked = True, False
        super().close()

    def _run(self) -> None:
        self._handle = None
        self._is_busy = True
        self._queue.add(self._work_off, self._key)

    def _work_off(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield from () if self._is_closed else self._steps()
        finally:
            now = time.monotonic()
            self._rested = now + min(LONGEST, SHARE * (now - begun))
            self._is_busy = False
            if self._is_asked:
                self._is_asked = False
                self.ask()
