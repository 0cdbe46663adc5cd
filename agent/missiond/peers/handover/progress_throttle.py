# SPDX-License-Identifier: Apache-2.0
"""How far a state is, not more often than people can read."""

from __future__ import annotations

from collections.abc import Callable

from missiond.common.clock import Clock

EVERY = 250
"""Milliseconds between two reports at least; the last one comes at once."""


class ProgressThrottle:
    """Of one state of `size` bytes; `tell` gets how many of them are over there."""

    def __init__(self, clock: Clock, size: int, tell: Callable[[int], None]) -> None:
        self._clock = clock
        self._size = size
        self._tell = tell
        self._told: int | None = None

    def at(self, offset: int) -> None:
        """It is so far."""
        now = self._clock.now()
        if offset == self._size or self._told is None or now - self._told >= EVERY:
            self._told = now
            self._tell(offset)
