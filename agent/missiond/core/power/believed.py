# SPDX-License-Identifier: Apache-2.0
"""Belief in readings of the battery.

For a moment, and above all after resume, drivers report a charge of 0 or none, or that there is no battery.
Such a reading counts only when another look, a few seconds later, does not say better.
"""

from __future__ import annotations

from dataclasses import replace

from missiond.core.power.reading import PowerReading

CONFIRM = 5_000
"""Ms from a doubtful look to the deciding one."""

FALL = 20.0
"""Percentage points no battery loses within FALL_TIME."""

FALL_TIME = 60_000


class BelievedPower:
    """The last believed reading; times are in ms of the core's clock."""

    def __init__(self, reading: PowerReading, now: int) -> None:
        self.reading = reading
        self._charged_at = now
        self._doubted = None if reading.told else now
        self._slept = False
        self._settling = False

    @property
    def look_again(self) -> int | None:
        """Time of the deciding look; None while nothing is in doubt."""
        return None if self._doubted is None else self._doubted + CONFIRM

    def woke(self) -> None:
        """Doubt the next reading after sleep, until another confirms the value."""
        self._slept = True

    def take(self, reading: PowerReading, now: int) -> None:
        """Believe a reading, or stay with the one before for now."""
        if self._slept:
            self._slept, self._settling, self._doubted = False, True, now
            return
        if self._settling or not self._credible(reading, now):
            if self._doubted is None:
                self._doubted = now
            if now - self._doubted < CONFIRM:
                return
        self._settling, self._doubted = False, None
        if reading.told:
            self._charged_at = now
        elif self.reading.percent is not None:
            reading = replace(reading, percent=self.reading.percent, most=self.reading.most)
        self.reading = reading

    def _credible(self, reading: PowerReading, now: int) -> bool:
        before = self.reading
        if not reading.told:
            return not before.told  # once is enough: what stays silent is not asked every few seconds
        if before.present and not reading.present:
            return False
        if before.percent is None or reading.percent is None or now - self._charged_at > FALL_TIME:
            return True
        return before.percent - reading.percent <= FALL
