# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from missiond.agent.power_watch import STALE, PowerWatch
from missiond.core.power import PowerLevel, PowerReading, Thresholds
from standins.clock import FakeClock


class Supply:
    """A battery that a test drains."""

    def __init__(self) -> None:
        self.percent = 50.0
        self.looks = 0

    def read(self) -> PowerReading:
        self.looks += 1
        return PowerReading(present=True, percent=self.percent, external=False, discharging=True)


def test_a_level_change_is_told_before_the_reading() -> None:
    supply = Supply()
    watch = PowerWatch(Thresholds(), supply, FakeClock())
    told: list[str] = []
    watch.on_level = lambda: told.append(watch.level.value)
    watch.on_reading = lambda: told.append("reading")
    supply.percent = 49
    watch.look()
    supply.percent = 20
    watch.look()
    watch.look()
    assert told == ["reading", "low", "reading"]


def test_what_is_granted_goes_by_a_fresh_reading() -> None:
    supply, clock = Supply(), FakeClock()
    watch = PowerWatch(Thresholds(), supply, clock)
    supply.percent = 5
    assert watch.level_now() is PowerLevel.NORMAL
    clock.advance(STALE)
    assert watch.level_now() is PowerLevel.CRITICAL
    assert watch.level_now() is PowerLevel.CRITICAL
    assert supply.looks == 2


def test_new_thresholds_are_told() -> None:
    watch = PowerWatch(Thresholds(), Supply(), FakeClock())
    told: list[str] = []
    watch.on_level = lambda: told.append(watch.level.value)
    watch.configure(Thresholds(low=60))
    assert told == ["low"]
