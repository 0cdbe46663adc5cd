# SPDX-License-Identifier: Apache-2.0
"""Level of the battery, from readings with hysteresis."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from missiond.core.power.believed import CONFIRM, BelievedPower
from missiond.core.power.reading import MAINS, PowerReading


class PowerLevel(Enum):
    """Level of the battery: tasks may have everything, shorter requests, or nothing."""

    NORMAL = "normal"
    LOW = "low"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percentages for low and critical, at or below, of a discharging battery.

    A level is left only above its threshold plus hysteresis, or when the battery no longer discharges.
    """

    low: float = 20
    low_hysteresis: float = 2
    critical: float = 5
    critical_hysteresis: float = 2


class Power:
    """Follows the looks at the battery; times are in ms of the core's clock.

    `reading` is the one that counts, `level` what live tasks are held to: critical only after looks at
    least CONFIRM apart that all said so. New tasks are held to `granting`, where the first is enough.
    """

    def __init__(self, thresholds: Thresholds, reading: PowerReading = MAINS, now: int = 0) -> None:
        self._thresholds = thresholds
        self._believed = BelievedPower(reading, now)
        self._critical: tuple[int, int] | None = None
        """First and last of the looks without a break that said critical."""
        self.level = PowerLevel.NORMAL
        self._note(reading, now)
        self._follow()

    @property
    def reading(self) -> PowerReading:
        """The last reading believed."""
        return self._believed.reading

    @property
    def low(self) -> bool:
        """At or under the low threshold and discharging (critical counts as low)."""
        return self.level is not PowerLevel.NORMAL

    @property
    def granting(self) -> PowerLevel:
        """Level for new tasks: the worse one while in doubt, since a refusal loses nothing."""
        return PowerLevel.CRITICAL if self._wanted() is PowerLevel.CRITICAL else self.level

    @property
    def look_again(self) -> int | None:
        """Time of the next look to confirm a level; None while nothing is in doubt."""
        times = [] if self._believed.look_again is None else [self._believed.look_again]
        if self._critical is not None and not self._confirmed and self.level is not PowerLevel.CRITICAL:
            times.append(self._critical[0] + CONFIRM)
        return min(times, default=None)

    def update(self, reading: PowerReading, now: int = 0) -> bool:
        """Take a new reading; true where the level changed."""
        self._believed.take(reading, now)
        self._note(reading, now)
        return self._follow()

    def woke(self) -> None:
        """Doubt the next reading after sleep, until another confirms the value."""
        self._critical = None
        self._believed.woke()

    def was_critical(self) -> bool:
        """Go on from the critical level of an earlier run; true where still critical."""
        self.level = PowerLevel.CRITICAL
        self._follow()
        return self.level is PowerLevel.CRITICAL

    def configure(self, thresholds: Thresholds, now: int = 0) -> bool:
        """Take new thresholds; true where the level changed."""
        self._thresholds = thresholds
        self._critical = None
        self._note(self.reading, now)
        return self._follow()

    def _note(self, reading: PowerReading, now: int) -> None:
        if not reading.told or self._level_of(reading, PowerLevel.NORMAL) is not PowerLevel.CRITICAL:
            self._critical = None
        else:
            self._critical = (now if self._critical is None else self._critical[0], now)

    def _follow(self) -> bool:
        before, level = self.level, self._wanted()
        if level is PowerLevel.CRITICAL and before is not level and not self._confirmed:
            level = PowerLevel.LOW
        self.level = level
        return level is not before

    @property
    def _confirmed(self) -> bool:
        return self._critical is not None and self._critical[1] - self._critical[0] >= CONFIRM

    def _wanted(self) -> PowerLevel:
        return self._level_of(self.reading, self.level)

    def _level_of(self, reading: PowerReading, before: PowerLevel) -> PowerLevel:
        if not (reading.present and reading.discharging):
            return PowerLevel.NORMAL
        if reading.percent is None:
            # A battery that does not tell is granted no more than a low one; nor is it known to be dying.
            return before if before is PowerLevel.CRITICAL else PowerLevel.LOW
        limits = self._thresholds
        was_critical = before is PowerLevel.CRITICAL
        if reading.at_most <= limits.critical + (limits.critical_hysteresis if was_critical else 0):
            return PowerLevel.CRITICAL
        was_low = before is not PowerLevel.NORMAL
        if reading.percent <= limits.low + (limits.low_hysteresis if was_low else 0):
            return PowerLevel.LOW
        return PowerLevel.NORMAL
