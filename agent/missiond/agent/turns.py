# SPDX-License-Identifier: Apache-2.0
"""Work that may come in heaps, done a little at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)
SLICE = 0.005
"""Seconds of such work in one turn of the loop; calls and everything else come in between."""


class Turns:
    """Does work in the order in which they come: at once, or in later turns where there are many."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._spent = 0.0
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many pieces wait."""
        return len(self._waiting)

    def add(self, piece: Callable[[], None]) -> None:
        """Have it done; one that raises is logged."""
        if self._waiting or self._spent >= SLICE:
            self._waiting.append(piece)
        else:
            self._do(piece)

    def close(self) -> None:
        """Do what waits no more."""
        self._waiting.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _do(self, piece: Callable[[], None]) -> None:
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._turn)
        begun = time.monotonic()
        try:
            piece()
        except Exception:
            _LOGGER.exception("a piece of work failed")
        self._spent += time.monotonic() - begun

    def _turn(self) -> None:
        self._handle = None
        self._spent = 0.0
        while self._waiting and self._spent < SLICE:
            self._do(self._waiting.popleft())
