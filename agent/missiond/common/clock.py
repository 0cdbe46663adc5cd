# SPDX-License-Identifier: Apache-2.0
"""The clock of the core, and timers on this clock."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A clock running on while the host sleeps (CLOCK_BOOTTIME, clock_gettime(2))."""

    def now(self) -> int:
        """Milliseconds since boot, suspend included; never goes back."""
        ...


class WakeTimer(Protocol):
    """One timer on the core's clock."""

    def set(self, when_ms: int | None) -> None:
        """Ring at this time, in place of an earlier one; None: never."""
        ...


class SharedTimer:
    """One timer in slots: rings at the earliest time of any, and every part is asked then."""

    def __init__(self, alarm: WakeTimer) -> None:
        self._alarm = alarm
        self._slots: list[_Slot] = []

    def slot(self) -> WakeTimer:
        """One more."""
        slot = _Slot(self)
        self._slots.append(slot)
        return slot

    def changed(self) -> None:
        """Set the timer to the earliest time of any slot."""
        self._alarm.set(min((slot.when for slot in self._slots if slot.when is not None), default=None))


class _Slot:
    def __init__(self, shared: SharedTimer) -> None:
        self.when: int | None = None
        self._shared = shared

    def set(self, when_ms: int | None) -> None:
        self.when = when_ms
        self._shared.changed()
