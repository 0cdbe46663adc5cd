# SPDX-License-Identifier: Apache-2.0
"""When the battery is looked at, and what is told of it."""

from __future__ import annotations

from typing import cast

from missiond.core.power.believed import CONFIRM
from missiond.core.power.level import PowerLevel, Thresholds
from missiond.core.power.reading import MAINS, PowerReading
from missiond.daemon.power_watch import GAP, POLL, SLACK, STALE, PowerWatch
from missiond.host.clocks.boottime import BootClock
from missiond.host.power.battery import Battery
from standins.services.power_supplies import on_battery, on_mains
from standins.worlds.clock import FakeClock


class Bench:
    """A watch on a battery that a test drains, with an alarm that rings when time passes."""

    def __init__(self, percent: float = 50.0) -> None:
        self.reading = on_battery(percent)
        self.looks = 0
        self.held = False
        self.clock = FakeClock()
        self.when: int | None = None
        self.watch = PowerWatch(
            Thresholds(), cast("Battery", self), cast("BootClock", self.clock), self, lambda: self.held
        )
        self.told: list[str] = []
        self.watch.on_level(lambda: self.told.append(self.watch.level.value))
        self.watch.on_reading(lambda: self.told.append("reading"))

    def read(self) -> PowerReading:
        self.looks += 1
        return self.reading

    def set(self, when_ms: int | None) -> None:
        self.when = when_ms

    def hold(self, *, held: bool = True) -> None:
        self.held = held
        self.watch.schedule()

    def drain(self, percent: float) -> None:
        self.reading = on_battery(percent)

    def run(self, ms: int) -> None:
        """Let time pass; the alarm rings at its moments."""
        end = self.clock.now() + ms
        while self.when is not None and self.when <= end:
            self.clock.advance(max(0, self.when - self.clock.now()))
            self.when = None
            self.watch.ring()
        self.clock.advance(end - self.clock.now())


def test_a_level_change_is_told_before_the_reading() -> None:
    bench = Bench()
    bench.drain(49)
    bench.watch.look()
    bench.clock.advance(70_000)
    bench.drain(20)
    bench.watch.look()
    bench.watch.look()
    assert bench.told == ["reading", "low", "reading"]


def test_what_is_granted_goes_by_a_fresh_reading() -> None:
    bench = Bench(10)
    bench.drain(5)
    assert bench.watch.fresh().granting is PowerLevel.LOW
    bench.clock.advance(STALE)
    assert bench.watch.fresh().granting is PowerLevel.CRITICAL
    assert bench.watch.fresh().granting is PowerLevel.CRITICAL
    assert bench.looks == 2
    bench.run(CONFIRM)
    assert bench.told == ["reading", "critical", "reading"]


def test_new_thresholds_are_told() -> None:
    bench = Bench()
    bench.watch.configure(Thresholds(low=60))
    assert bench.told == ["low", "reading"]


def test_a_silent_driver_is_looked_at_while_something_is_held() -> None:
    bench = Bench()
    bench.run(3_600_000)
    assert bench.looks == 1
    bench.watch.look()
    bench.hold()
    bench.run(600_000)
    assert 600_000 // (POLL + SLACK) <= bench.looks - 2 <= 600_000 // POLL
    bench.drain(2)
    bench.run(POLL + SLACK + CONFIRM)
    assert bench.watch.level is PowerLevel.CRITICAL
    bench.hold(held=False)
    looks = bench.looks
    bench.run(3_600_000)
    assert bench.looks == looks


def test_the_looks_fall_together_with_those_of_others() -> None:
    bench = Bench()
    bench.hold()
    for _ in range(5):
        assert bench.when is not None
        assert bench.when % SLACK == 0
        assert POLL <= bench.when - bench.clock.now() <= POLL + SLACK
        bench.run(bench.when - bench.clock.now() + 3)
        bench.watch.look()


def test_nothing_is_looked_at_on_mains() -> None:
    for reading in (MAINS, on_mains(50)):
        bench = Bench()
        bench.reading = reading
        bench.watch.look()
        bench.run(CONFIRM)
        looks = bench.looks
        bench.hold()
        bench.run(3_600_000)
        assert bench.looks == looks
        assert bench.when is None


def test_a_flood_of_events_costs_one_look_a_second() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.watch.changed()
        bench.run(10)
    assert 9 <= bench.looks <= 2 + 10_000 // GAP
    bench.drain(49)
    bench.watch.changed()
    bench.run(GAP)
    assert bench.watch.power.reading == on_battery(49)
    assert bench.when is None


def test_no_look_after_sleep_is_believed_alone() -> None:
    bench = Bench(80)
    bench.clock.advance(3_600_000)
    bench.clock.asleep += 3_500_000
    bench.drain(3)
    bench.watch.changed()  # the kernel's event, before logind says that the host slept
    bench.watch.woke()
    assert bench.watch.power.reading == on_battery(80)
    assert bench.watch.power.granting is PowerLevel.NORMAL
    bench.drain(79)
    bench.run(CONFIRM)
    assert bench.watch.power.reading == on_battery(79)
    assert bench.told == ["reading"]
    assert bench.when is None


def test_after_sleep_two_looks_are_enough() -> None:
    bench = Bench(80)
    bench.clock.advance(3_600_000)
    bench.clock.asleep += 3_500_000
    bench.drain(3)
    bench.watch.woke()
    bench.run(CONFIRM)
    assert bench.watch.level is PowerLevel.CRITICAL
