# SPDX-License-Identifier: Apache-2.0
"""Timers of hand-overs; without any, nothing wakes up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from missiond.core.handover.effects import SetTimer, Timer


class HandoverTimers:
    """Of each transfer at most one of a kind; `expired` is called from the loop."""

    def __init__(self, expired: Callable[[str, Timer], None]) -> None:
        self._expired = expired
        self._running: dict[tuple[str, Timer], asyncio.TimerHandle] = {}

    def set(self, effect: SetTimer) -> None:
        """Set one in place of an earlier one, or stop it."""
        key = effect.transfer, effect.timer
        self._stop(key)
        if effect.after is not None:
            loop = asyncio.get_running_loop()
            self._running[key] = loop.call_later(effect.after / 1000, self._ring, key)

    def forget(self, transfer: str) -> None:
        """Stop all of a transfer."""
        for timer in Timer:
            self._stop((transfer, timer))

    def close(self) -> None:
        """Stop all."""
        for key in list(self._running):
            self._stop(key)

    def _ring(self, key: tuple[str, Timer]) -> None:
        del self._running[key]
        self._expired(*key)

    def _stop(self, key: tuple[str, Timer]) -> None:
        handle = self._running.pop(key, None)
        if handle is not None:
            handle.cancel()
