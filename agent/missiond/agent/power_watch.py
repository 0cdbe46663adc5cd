# SPDX-License-Identifier: Apache-2.0
"""Keeps the battery's level current."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from missiond.core.clock import Clock
from missiond.core.power import Power, PowerLevel, PowerReading, Thresholds

_LOGGER = logging.getLogger(__name__)

STALE = 2_000
"""Ms after which it is read again before something is granted: a host may not tell of every change."""


class PowerSupply(Protocol):
    """The battery, as far as it is needed here."""

    def read(self) -> PowerReading:
        """How it stands."""
        ...


def _nothing() -> None:
    """Until somebody listens."""


class PowerWatch:
    """Reads at every event; `on_level` is called after the level changed, `on_reading` after anything did."""

    def __init__(self, thresholds: Thresholds, supply: PowerSupply, clock: Clock) -> None:
        self.power = Power(thresholds, supply.read())
        self._supply = supply
        self._clock = clock
        self._looked = clock.now()
        self.on_level: Callable[[], None] = _nothing
        self.on_reading: Callable[[], None] = _nothing

    @property
    def level(self) -> PowerLevel:
        """As of the last look."""
        return self.power.level

    def look(self) -> None:
        """Read the supply and tell what is different."""
        before = self.power.reading
        self._looked = self._clock.now()
        if self.power.update(self._supply.read()):
            self._tell_level()
        if self.power.reading != before:
            self.on_reading()

    def level_now(self) -> PowerLevel:
        """The level for a decision: no older than STALE."""
        if self._clock.now() - self._looked >= STALE:
            self.look()
        return self.power.level

    def configure(self, thresholds: Thresholds) -> None:
        """Put new thresholds in force."""
        if self.power.configure(thresholds):
            self._tell_level()
            self.on_reading()

    def _tell_level(self) -> None:
        _LOGGER.info("battery: %s", self.power.level.value)
        self.on_level()
