# SPDX-License-Identifier: Apache-2.0
"""Which readings of the battery count.

For a moment, and above all after resume, drivers report a charge of 0 or none, or that there is no battery.
Such a reading counts only when another look, a few seconds later, does not say better.
"""

from __future__ import annotations

from dataclasses import replace

from missiond.core.power.reading import PowerReading

CONFIRM = 5_000
"""Ms from a doubtful look to the one that decides."""

FALL = 20.0
"""Percentage points that no battery loses within FALL_TIME."""

FALL_TIME = 60_000


class BelievedPower:
    """The last reading that counts; times are in ms of the core's clock."""

    def __init__(self, reading: PowerReading, now: int) -> None:
        self.reading = reading
        self._charged_at = now
        self._doubted = None if reading.told else now
        self._slept = False
        self._settling = False

    @property
    def look_again(self) -> int | None:
        """When the look that decides is due; None where nothing is in doubt."""
        return None if self._doubted is None else self._doubted + CONFIRM

    def woke(self) -> None:
        """The host slept: the next reading counts only when a later one bears it out."""
        self._slept = True

    def take(self, reading: PowerReading, now: int) -> None:
        """Believe it, or hold on to the one before for now."""
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
