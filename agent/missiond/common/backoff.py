# SPDX-License-Identifier: Apache-2.0
"""Pauses between attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LEAST = 250
MOST = 60_000
_PART = 5
_JITTER = 0.25


class Backoff:
    """Pauses (in the unit of `first`), doubled from attempt to attempt, up to `longest`.

    self._pauses = Backoff(2.0, 300.0)
    self._pauses.later(self._try)  # or `await asyncio.sleep(self._pauses.next())`
    self._pauses.reset()  # once it has worked
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._next = first
        self._longest = longest
        self._timer: asyncio.TimerHandle | None = None

    @property
    def fresh(self) -> bool:
        """Whether no pause was taken since the last `reset`."""
        return self._next == self._first

    @property
    def waiting(self) -> bool:
        """Whether a callback of `later` is still to come."""
        return self._timer is not None

    def next(self) -> float:
        """Return the next pause."""
        pause = self._next
        self._next = min(2 * pause, self._longest)
        return pause

    def reset(self) -> None:
        """Begin with the first pause again; a waiting callback comes at the planned time."""
        self._next = self._first

    def later(self, callback: Callable[[], object]) -> None:
        """Call back once after the next pause (s), from the running loop, unless a callback waits already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.next(), self._over, callback)

    def cancel(self) -> None:
        """Forget the waiting callback."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self, callback: Callable[[], object]) -> None:
        self._timer = None
        callback()


def pause_after(elapsed: int, chance: float) -> int:
    """Return ms to wait after `elapsed` ms without a link; `chance` is from 0 to 1.

    A fifth of the time that it has been away: one whose service was started again is met a moment after it
    listens, whoever comes back after ten seconds within about two, and whoever stays away costs a dial a
    minute. Jitter (a quarter either way) keeps hosts from dialling each other in step.
    """
    wait = min(max(elapsed // _PART, LEAST), MOST)
    return int(wait * (1 - _JITTER + 2 * _JITTER * chance))
