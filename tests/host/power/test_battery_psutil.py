# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import NamedTuple

import psutil
import pytest
from psutil import _pslinux

from missiond.host.power.battery import Battery
from standins.services.power_supplies import PowerSupplies, on_battery


def test_psutil_is_asked_on_an_ordinary_host(
    supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pslinux, "POWER_SUPPLY_PATH", str(supplies.root))
    supplies.battery(capacity=30)
    asked = []
    real = psutil.sensors_battery

    def sensors_battery() -> object:
        asked.append(1)
        return real()

    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery)
    assert Battery(supplies.root).read().percent == 30
    assert asked == [1]
    supplies.battery("BAT1", capacity=50)
    assert Battery(supplies.root).read().percent == 40
    assert asked == [1]


def test_psutil_that_looks_at_the_mouse_is_not_asked(
    supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_pslinux, "POWER_SUPPLY_PATH", str(supplies.root))
    supplies.battery("CMB1", capacity=30)
    supplies.set("BAT-mouse", type="Battery", scope="Device", capacity=3)
    assert psutil.sensors_battery().percent == 3
    assert Battery(supplies.root).read().percent == 30


class Answer(NamedTuple):
    """What sensors_battery() returns; its own type is in another place in every version."""

    percent: object
    secsleft: int
    power_plugged: bool | None


@pytest.mark.parametrize(
    "answer",
    [
        None,
        Answer(None, 0, None),
        Answer(-1, 0, None),
        Answer(float("nan"), 0, None),
        Answer(float("inf"), 0, None),
        Answer(250, 0, None),
        Answer("50", 0, None),
        TypeError("unsupported operand"),
        ValueError("invalid literal"),
        OSError("No such device"),
        AttributeError("sensors_battery"),
        ZeroDivisionError(),
    ],
)
def test_whatever_psutil_says(
    supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    def sensors_battery() -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(_pslinux, "POWER_SUPPLY_PATH", str(supplies.root))
    monkeypatch.setattr(psutil, "sensors_battery", sensors_battery)
    supplies.battery(capacity=44)
    assert Battery(supplies.root).read() == on_battery(44.0)


def test_without_psutil(supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psutil", None)
    supplies.battery(capacity=44)
    assert Battery(supplies.root).read() == on_battery(44.0)
