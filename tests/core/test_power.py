# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.power import MAINS, Power, PowerLevel, PowerReading, Thresholds


def on_battery(percent: float | None) -> PowerReading:
    return PowerReading(present=True, percent=percent, external=False, discharging=True)


def plugged_in(percent: float | None) -> PowerReading:
    return PowerReading(present=True, percent=percent, external=True, discharging=False)


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
    assert Power(Thresholds(), on_battery(percent)).level is level


@pytest.mark.parametrize("reading", [MAINS, plugged_in(1), plugged_in(None)])
def test_nothing_is_low_on_external_power(reading: PowerReading) -> None:
    assert Power(Thresholds(), reading).level is PowerLevel.NORMAL


def test_hysteresis_on_the_way_up() -> None:
    power = Power(Thresholds(), on_battery(5))
    levels = []
    for percent in (6, 7, 7.5, 21, 22, 22.5, 21, 20):
        power.update(on_battery(percent))
        levels.append(power.level)
    low, critical, normal = PowerLevel.LOW, PowerLevel.CRITICAL, PowerLevel.NORMAL
    assert levels == [critical, critical, low, low, low, normal, normal, low]


def test_plugging_in_ends_a_level_at_once() -> None:
    power = Power(Thresholds(), on_battery(3))
    assert power.update(plugged_in(3))
    assert power.level is PowerLevel.NORMAL
    assert not power.low


def test_an_unknown_charge_never_lifts_a_critical_level() -> None:
    power = Power(Thresholds(), on_battery(3))
    assert not power.update(on_battery(None))
    assert power.level is PowerLevel.CRITICAL


def test_new_thresholds_hold_at_once() -> None:
    power = Power(Thresholds(), on_battery(30))
    assert power.configure(Thresholds(low=40))
    assert power.low


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=1))
def test_never_better_than_the_threshold_says(percents: list[float | None]) -> None:
    power = Power(Thresholds())
    for percent in percents:
        power.update(on_battery(percent))
        assert power.low or (percent is not None and percent > 20)
        assert power.level is PowerLevel.CRITICAL or percent is None or percent > 5
