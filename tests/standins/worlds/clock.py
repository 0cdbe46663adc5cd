# SPDX-License-Identifier: Apache-2.0
"""A clock that stands still until it is told."""

from __future__ import annotations


class FakeClock:
    """Milliseconds, for the core."""

    def __init__(self, now: int = 1_000_000) -> None:
        self._now = now
        self.asleep = 0
        """Ms of it that the host slept."""

    def now(self) -> int:
        return self._now

    def slept(self) -> int:
        return self.asleep

    def advance(self, ms: int) -> None:
        assert ms >= 0
        self._now += ms
