# SPDX-License-Identifier: Apache-2.0
"""Keeps the battery's level current."""

from __future__ import annotations

import logging
from collections.abc import Callable

from missiond.common.clock import WakeTimer
from missiond.core.power.level import Power, PowerLevel, Thresholds
from missiond.host.clocks.boottime import BootClock
from missiond.host.power.battery import Battery

_LOGGER = logging.getLogger(__name__)

STALE = 2_000
"""Age in ms of a reading too old for a decision: hosts don't tell of every change."""

GAP = 1_000
"""Least ms between two looks for events: a flood costs no more."""

POLL = 30_000
"""Ms between looks while a lock depends on a discharging battery: many drivers tell of no percent."""

SLACK = 10_000
"""Greatest delay of such a look in ms: looks fall on multiples since boot, along with other timers."""

SLEPT = 1_000
"""Ms of sleep with doubt in the next reading."""


class PowerWatch:
    """Watch on the battery, with a look at each event of the host.

    While `needed` says that a lock is held, or waits for the battery, a battery that discharges is looked at
    every POLL ms as well. At rest, and on mains, nothing wakes the host.
    """

    def __init__(
        self,
        thresholds: Thresholds,
        supply: Battery,
        clock: BootClock,
        alarm: WakeTimer,
        needed: Callable[[], bool],
    ) -> None:
        self.power = Power(thresholds, supply.read(), clock.now())
        self._supply = supply
        self._clock = clock
        self._alarm = alarm
        self._looked = clock.now()
        self._slept = clock.slept()
        self._owed = False
        self._needed = needed
        self._level_listeners: list[Callable[[], None]] = []
        self._reading_listeners: list[Callable[[], None]] = []
        self.schedule()

    def on_level(self, callback: Callable[[], None]) -> None:
        """Call back each time the level has changed."""
        self._level_listeners.append(callback)

    def on_reading(self, callback: Callable[[], None]) -> None:
        """Call back each time anything has changed, after the level."""
        self._reading_listeners.append(callback)

    @property
    def level(self) -> PowerLevel:
        """As of the last look."""
        return self.power.level

    def look(self) -> None:
        """Read the supply, and tell of changes."""
        before = self.power.reading
        now, slept = self._clock.now(), self._clock.slept()
        if slept - self._slept >= SLEPT:
            self.power.woke()
        self._looked, self._slept, self._owed = now, slept, False
        changed = self.power.update(self._supply.read(), now)
        self.schedule()
        if changed:
            self._tell_level()
        if changed or self.power.reading != before:
            self._tell_reading()

    def changed(self) -> None:
        """Look now, or soon after the last look, since the host tells of a change."""
        if self._clock.now() - self._looked >= GAP:
            self.look()
        else:
            self._owed = True
            self.schedule()

    def woke(self) -> None:
        """Look after sleep, and act on nothing before a second look."""
        self.power.woke()
        self._slept = self._clock.slept()
        self.look()

    def fresh(self) -> Power:
        """Return the power no older than STALE ms, for a decision or an answer."""
        if self._clock.now() - self._looked >= STALE:
            self.look()
        return self.power

    def was_critical(self) -> None:
        """Begin at a critical level, since tasks of an earlier run wait for the battery."""
        self.power.was_critical()

    def configure(self, thresholds: Thresholds) -> None:
        """Put new thresholds in force."""
        changed = self.power.configure(thresholds, self._clock.now())
        self.schedule()
        if changed:
            self._tell_level()
            self._tell_reading()

    def ring(self) -> None:
        """Look at the alarm, if there is still a reason to."""
        due = self._due()
        if due is not None and due <= self._clock.now():
            self.look()
        else:
            self.schedule()

    def schedule(self) -> None:
        """Set the alarm to the next look; needed after each change of locks."""
        self._alarm.set(self._due())

    def _due(self) -> int | None:
        times = [] if self.power.look_again is None else [self.power.look_again]
        if self._owed:
            times.append(self._looked + GAP)
        if self.power.reading.discharging and self._needed():
            times.append(-(-(self._looked + POLL) // SLACK) * SLACK)
        return min(times, default=None)

    def _tell_level(self) -> None:
        _LOGGER.info("battery: %s", self.power.level.value)
        for listener in self._level_listeners:
            listener()

    def _tell_reading(self) -> None:
        for listener in self._reading_listeners:
            listener()
