# SPDX-License-Identifier: Apache-2.0
"""Work that is asked for often and done now and then."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)
SHARE = 4
"""The work may take one part of the time for each so many parts of rest."""
LONGEST = 0.5


class Debouncer:
    """Does the work once, soon after it was asked for, and rests after it the longer it took.

    `delay` is seconds from the first request to the work; a storm of requests makes it 0.5 s at most.
    """

    def __init__(self, work: Callable[[], None], delay: float) -> None:
        self._work = work
        self._delay = delay
        self._rested = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Have it done."""
        if self._handle is None:
            wait = max(self._delay, self._rested - time.monotonic())
            self._handle = asyncio.get_running_loop().call_later(wait, self._run)

    def close(self) -> None:
        """Do what was asked for no more."""
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
