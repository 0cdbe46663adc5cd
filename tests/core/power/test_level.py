# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.power.believed import CONFIRM, FALL_TIME
from missiond.core.power.level import Power, PowerLevel, Thresholds
from missiond.core.power.reading import MAINS, PowerReading
from standins.services.power_supplies import on_battery, silent
from standins.services.power_supplies import on_mains as plugged_in


def confirmed(reading: PowerReading) -> Power:
    """What two looks at the same make of it."""
    power = Power(Thresholds(), reading)
    power.update(reading, CONFIRM)
    return power


@pytest.mark.parametrize(
    ("percent", "level"),
    [
        (100, PowerLevel.NORMAL),
        (20.1, PowerLevel.NORMAL),
        (20, PowerLevel.LOW),
        (5.1, PowerLevel.LOW),
        (5, PowerLevel.CRITICAL),
        (0, PowerLevel.CRITICAL),
        (None, PowerLevel.LOW),
    ],
)
def test_level_of_a_discharging_battery(percent: float | None, level: PowerLevel) -> None:
    assert confirmed(on_battery(percent)).level is level


@pytest.mark.parametrize("reading", [MAINS, plugged_in(1), plugged_in(None)])
def test_nothing_is_low_on_external_power(reading: PowerReading) -> None:
    assert confirmed(reading).level is PowerLevel.NORMAL


def test_critical_takes_two_looks_and_new_tasks_wait_for_none() -> None:
    power = Power(Thresholds(), on_battery(6))
    assert not power.update(on_battery(5), 1_000)
    assert (power.level, power.granting) == (PowerLevel.LOW, PowerLevel.CRITICAL)
    assert power.look_again == 1_000 + CONFIRM
    assert not power.update(on_battery(5), 999 + CONFIRM)
    assert power.update(on_battery(5), 1_000 + CONFIRM)
    assert power.level is PowerLevel.CRITICAL
    assert power.look_again is None


def test_a_better_look_in_between_begins_anew() -> None:
    power = Power(Thresholds(), on_battery(6))
    power.update(on_battery(5), 1_000)
    power.update(on_battery(6), 2_000)
    assert power.look_again is None
    power.update(on_battery(5), 3_000)
    assert not power.update(on_battery(5), 1_000 + CONFIRM)
    assert power.update(on_battery(5), 3_000 + CONFIRM)


def test_measures_far_apart_are_low_by_one_and_critical_by_both() -> None:
    assert confirmed(replace(on_battery(4), most=60.0)).level is PowerLevel.LOW
    assert confirmed(replace(on_battery(0), most=4.9)).level is PowerLevel.CRITICAL
    assert confirmed(replace(on_battery(30), most=60.0)).level is PowerLevel.NORMAL


def test_hysteresis_on_the_way_up() -> None:
    power = confirmed(on_battery(5))
    levels = []
    for percent in (6, 7, 7.5, 21, 22, 22.5, 21, 20):
        power.update(on_battery(percent), CONFIRM)
        levels.append(power.level)
    low, critical, normal = PowerLevel.LOW, PowerLevel.CRITICAL, PowerLevel.NORMAL
    assert levels == [critical, critical, low, low, low, normal, normal, low]


def test_a_level_of_an_earlier_run_goes_on() -> None:
    for percent, level in ((4, PowerLevel.CRITICAL), (7, PowerLevel.CRITICAL), (8, PowerLevel.LOW)):
        power = Power(Thresholds(), on_battery(percent))
        assert power.was_critical() is (level is PowerLevel.CRITICAL)
        assert power.level is level
    assert not Power(Thresholds(), plugged_in(3)).was_critical()


def test_plugging_in_ends_a_level_at_once() -> None:
    power = confirmed(on_battery(3))
    assert power.update(plugged_in(3), CONFIRM)
    assert power.level is PowerLevel.NORMAL
    assert not power.low


def test_an_unknown_charge_never_lifts_a_critical_level() -> None:
    power = confirmed(on_battery(3))
    assert not power.update(silent(None), CONFIRM)
    assert not power.update(silent(None), 2 * CONFIRM)
    assert power.level is PowerLevel.CRITICAL
    assert power.reading.percent == 3


def test_new_thresholds_hold_at_once() -> None:
    power = Power(Thresholds(), on_battery(30))
    assert power.configure(Thresholds(low=40))
    assert power.low
    power.configure(Thresholds(low=60, critical=40), 0)
    assert power.granting is PowerLevel.CRITICAL
    assert power.update(on_battery(30), CONFIRM)


@pytest.mark.parametrize(
    "nothing",
    [silent(80), silent(0), on_battery(0), on_battery(59.9), plugged_in(0), MAINS],
    ids=str,
)
def test_one_reading_that_tells_nothing_changes_nothing(nothing: PowerReading) -> None:
    good = on_battery(80)
    power = Power(Thresholds(), good)
    assert not power.update(nothing, 10_000)
    assert power.reading == good
    assert power.granting is PowerLevel.NORMAL
    assert power.look_again == 10_000 + CONFIRM
    assert not power.update(nothing, 9_999 + CONFIRM)
    assert power.reading == good
    power.update(good, 10_000 + CONFIRM)
    assert power.reading == good
    assert power.look_again is None


def test_a_second_look_decides() -> None:
    for doubtful in (on_battery(30), MAINS):
        power = Power(Thresholds(), on_battery(80))
        power.update(doubtful, 0)
        power.update(doubtful, CONFIRM)
        assert power.reading == doubtful
        assert power.look_again is None


def test_a_fall_that_had_time_is_believed() -> None:
    power = Power(Thresholds(), on_battery(80))
    assert power.update(on_battery(10), FALL_TIME + 1)


def test_a_battery_that_stays_silent_is_asked_once_more_and_keeps_its_charge() -> None:
    power = Power(Thresholds(), on_battery(80))
    power.update(silent(80), 0)
    power.update(silent(0), CONFIRM)
    assert power.reading == silent(80)
    power.update(silent(0), 2 * CONFIRM)
    assert power.look_again is None
    assert power.level is PowerLevel.NORMAL


def test_silence_confirms_nothing() -> None:
    power = Power(Thresholds(), on_battery(6))
    power.update(on_battery(4), 0)
    assert not power.update(silent(4), CONFIRM)
    assert not power.update(on_battery(4), CONFIRM + 1)
    assert power.update(on_battery(4), 2 * CONFIRM + 1)


READINGS = st.one_of(
    st.floats(0, 100).map(on_battery),
    st.floats(0, 100).map(plugged_in),
    st.sampled_from([silent(None), silent(0), MAINS]),
)


@given(st.lists(st.tuples(READINGS, st.integers(0, 20_000), st.booleans()), min_size=1))
def test_no_look_alone_is_lost_for_and_none_is_owed_for_ever(
    looks: list[tuple[PowerReading, int, bool]],
) -> None:
    power, now, critical = Power(Thresholds(), on_battery(50)), 0, PowerLevel.CRITICAL
    said: list[int] = []
    """When looks without a break said critical."""
    for reading, wait, slept in looks:
        now += wait
        if slept:
            power.woke()
        dying = reading.told and reading.discharging and (reading.percent or 0) <= 5
        before = power.level
        power.update(reading, now)
        said = [*said, now] if dying else []
        if power.level is critical and before is not critical:
            assert said[-1] - said[0] >= CONFIRM
        if reading.told and reading.discharging and power.reading == reading:
            assert power.low or (reading.percent or 0) > 20
            assert power.granting is critical or (reading.percent or 0) > 5
        assert power.look_again is None or power.look_again > now
