# SPDX-License-Identifier: Apache-2.0
"""What the battery allows: a reading, and the level that follows from it with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class PowerReading:
    """The host's power supply at one moment.

    `percent` is the charge of all system batteries together (0 to 100), None where there is a battery
    that does not tell. A host without a battery is `present=False, external=True`.
    """

    present: bool
    percent: float | None
    external: bool
    discharging: bool


MAINS = PowerReading(present=False, percent=None, external=True, discharging=False)


class PowerLevel(Enum):
    """What tasks are allowed: everything, shorter requests, or nothing."""

    NORMAL = "normal"
    LOW = "low"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percentages at or under which a discharging battery is low or critical.

    A level is left only above its threshold plus hysteresis, or when the battery no longer discharges.
    """

    low: float = 20
    low_hysteresis: float = 2
    critical: float = 5
    critical_hysteresis: float = 2


class Power:
    """Follows the readings."""

    def __init__(self, thresholds: Thresholds, reading: PowerReading = MAINS) -> None:
        self._thresholds = thresholds
        self.reading = reading
        self.level = PowerLevel.NORMAL
        self._follow()

    @property
    def low(self) -> bool:
        """At or under the low threshold and discharging (critical counts as low)."""
        return self.level is not PowerLevel.NORMAL

    def update(self, reading: PowerReading) -> bool:
        """Take a new reading; true where the level changed."""
        self.reading = reading
        return self._follow()

    def configure(self, thresholds: Thresholds) -> bool:
        """Take new thresholds; true where the level changed."""
        self._thresholds = thresholds
        return self._follow()

    def _follow(self) -> bool:
        before, self.level = self.level, self._next_level()
        return self.level is not before

    def _next_level(self) -> PowerLevel:
        if not (self.reading.present and self.reading.discharging):
            return PowerLevel.NORMAL
        percent = self.reading.percent
        if percent is None:
            # A battery that does not tell is granted no more than a low one; nor is it known to be dying.
            return self.level if self.level is PowerLevel.CRITICAL else PowerLevel.LOW
        limits = self._thresholds
        was_critical = self.level is PowerLevel.CRITICAL
        if percent <= limits.critical + (limits.critical_hysteresis if was_critical else 0):
            return PowerLevel.CRITICAL
        was_low = self.level is not PowerLevel.NORMAL
        if percent <= limits.low + (limits.low_hysteresis if was_low else 0):
            return PowerLevel.LOW
        return PowerLevel.NORMAL
