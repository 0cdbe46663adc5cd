# SPDX-License-Identifier: Apache-2.0
"""The clock that the core is handed, and timers on it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A clock that goes on while the host sleeps (CLOCK_BOOTTIME, clock_gettime(2))."""

    def now(self) -> int:
        """Milliseconds since boot, suspend included; never goes back."""
        ...


class WakeTimer(Protocol):
    """One timer on the core's clock."""

    def set(self, when_ms: int | None) -> None:
        """Ring at this time, in place of an earlier one; None: never."""
        ...


class SharedTimer:
    """Makes slots of one alarm, which rings at the earliest of their times: every part is asked then."""

    def __init__(self, alarm: WakeTimer) -> None:
        self._alarm = alarm
        self._slots: list[_Slot] = []

    def slot(self) -> WakeTimer:
        """One more."""
        slot = _Slot(self)
        self._slots.append(slot)
        return slot

    def changed(self) -> None:
        """Set the alarm to the earliest time that somebody wants."""
        self._alarm.set(min((slot.when for slot in self._slots if slot.when is not None), default=None))


class _Slot:
    def __init__(self, shared: SharedTimer) -> None:
        self.when: int | None = None
        self._shared = shared

    def set(self, when_ms: int | None) -> None:
        self.when = when_ms
        self._shared.changed()
