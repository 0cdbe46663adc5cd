# SPDX-License-Identifier: Apache-2.0
"""Power supplies as real hosts lay them out, from their files to what is allowed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from missiond.core.power.believed import CONFIRM
from missiond.core.power.level import Power, PowerLevel, Thresholds
from missiond.host.power.battery import Battery
from standins.services.power_supplies import PowerSupplies

NORMAL, LOW, CRITICAL = PowerLevel.NORMAL, PowerLevel.LOW, PowerLevel.CRITICAL
Files = dict[str, Any]


def battery(percent: int | None, status: str = "Discharging", **files: Any) -> Files:
    return {"type": "Battery", "present": 1, "status": status, "capacity": percent} | files


def counted(now: int, unit: str = "energy", **files: Any) -> Files:
    """With counters, `now` of 100."""
    counters = {f"{unit}_now": now * 500_000, f"{unit}_full": 50_000_000}
    return {"type": "Battery", "present": 1, "status": "Discharging"} | counters | files


def mains(online: int) -> Files:
    return {"type": "Mains", "online": online}


class Layout(NamedTuple):
    """Supplies, and what is right for them."""

    supplies: dict[str, Files]
    external: bool
    level: PowerLevel
    percent: float | None = None


LAYOUTS = {
    "laptop on battery": Layout({"BAT0": battery(50), "AC": mains(0)}, False, NORMAL, 50),
    "low": Layout({"BAT0": battery(20), "AC": mains(0)}, False, LOW, 20),
    "critical": Layout({"BAT0": battery(5), "AC": mains(0)}, False, CRITICAL, 5),
    "charging when empty": Layout({"BAT0": battery(2, "Charging"), "AC": mains(1)}, True, NORMAL, 2),
    "held by a charge limit": Layout({"BAT0": battery(4, "Not charging"), "AC": mains(1)}, True, NORMAL),
    "full on mains": Layout({"BAT0": battery(100, "Full"), "AC": mains(1)}, True, NORMAL, 100),
    "full and discharging on mains": Layout({"BAT0": battery(100), "AC": mains(1)}, True, NORMAL, 100),
    "nothing at all": Layout({}, True, NORMAL),
    "desktop": Layout({"AC": mains(1)}, True, NORMAL),
    "empty slot": Layout({"BAT0": {"type": "Battery", "present": 0}, "AC": mains(1)}, True, NORMAL),
    "port that stayed on": Layout(
        {
            "macsmc-battery": counted(4, capacity=4),
            "macsmc-ac": mains(0),
            "tps6598x-source-psy-0": {"type": "USB", "online": 1},
        },
        True,
        CRITICAL,
        4,
    ),
    "port that stayed on, low": Layout(
        {"macsmc-battery": counted(15), "tps6598x-source-psy-0": {"type": "USB", "online": 1}},
        True,
        LOW,
        15,
    ),
    "port that feeds a phone": Layout(
        {
            "BAT0": battery(4),
            "AC": mains(0),
            "ucsi-source-psy-1": {"type": "USB", "online": 1, "status": "Discharging"},
        },
        False,
        CRITICAL,
    ),
    "port that feeds a phone and is marked": Layout(
        {"BAT0": battery(4), "ucsi-source-psy-1": {"type": "USB", "scope": "Device", "online": 1}},
        False,
        CRITICAL,
    ),
    "charger that is too weak": Layout({"BAT0": battery(4), "ACAD": mains(1)}, True, CRITICAL),
    "charger that is too weak, low": Layout({"BAT0": battery(15), "ACAD": mains(1)}, True, LOW),
    "charger that is too weak, full": Layout({"BAT0": battery(60), "ACAD": mains(1)}, True, NORMAL),
    "programmable charger": Layout(
        {"BAT0": battery(4, "Charging"), "usb": {"type": "USB_PD", "online": 2}}, True, NORMAL
    ),
    "wireless pad that is too weak": Layout(
        {"BAT0": battery(4), "qi": {"type": "Wireless", "online": 1}}, True, CRITICAL
    ),
    "dock that says nothing": Layout(
        {"BAT0": battery(4, "Unknown"), "dock": {"type": "USB", "online": None}}, False, CRITICAL
    ),
    "no supply but the battery": Layout({"BAT0": battery(4)}, False, CRITICAL),
    "no supply but a charging battery": Layout({"BAT0": battery(4, "Charging")}, True, NORMAL),
    "gauge tells more than the counters": Layout({"b": counted(4, capacity=12)}, False, LOW, 12),
    "gauge tells less than the counters": Layout({"b": counted(12, capacity=4)}, False, CRITICAL, 4),
    "counters that are not kept": Layout({"b": counted(0, capacity=80)}, False, NORMAL, 80),
    "gauge far under the counters": Layout({"b": counted(60, "charge", capacity=4)}, False, LOW, 4),
    "gauge far over the counters": Layout({"b": counted(4, capacity=60)}, False, LOW, 4),
    "far apart, and both critical": Layout({"b": counted(5, capacity=0)}, False, CRITICAL),
    "nothing told": Layout({"BAT0": battery(None), "AC": mains(0)}, False, LOW),
    "zero without a status": Layout({"BAT0": battery(0, "Unknown"), "AC": mains(0)}, False, LOW),
    "zero and discharging": Layout({"BAT0": battery(0), "AC": mains(0)}, False, CRITICAL, 0),
    "impossible": Layout({"BAT0": battery(4711), "AC": mains(0)}, False, LOW),
    "text": Layout({"BAT0": {**battery(None), "capacity": "full"}}, False, LOW),
    "text beside counters": Layout({"b": counted(50, capacity="n/a")}, False, NORMAL, 50),
    "huge": Layout({"b": counted(50) | {"energy_now": 10**17, "capacity": 50}}, False, NORMAL, 50),
    "two batteries": Layout({"BAT0": counted(0), "BAT1": counted(50)}, False, NORMAL, 25),
    "two batteries, one idle": Layout(
        {"BAT0": counted(4), "BAT1": counted(4, status="Unknown"), "AC": mains(0)}, False, CRITICAL, 4
    ),
    "two batteries, one charges": Layout(
        {"BAT0": counted(4), "BAT1": counted(4, status="Charging"), "AC": mains(1)}, True, NORMAL, 4
    ),
    "two batteries, one empty": Layout(
        {"BAT0": battery(0, "Unknown"), "BAT1": battery(80), "AC": mains(0)}, False, NORMAL, 80
    ),
    "two batteries, one empty and the other critical": Layout(
        {"BAT0": battery(0, "Unknown"), "BAT1": battery(4), "AC": mains(0)}, False, CRITICAL, 4
    ),
    "mouse": Layout({"hidpp_battery_0": battery(3, scope="Device")}, True, NORMAL),
    "mouse beside a battery": Layout(
        {"BAT0": battery(80), "hidpp_battery_0": battery(3, scope="Device"), "AC": mains(0)},
        False,
        NORMAL,
        80,
    ),
    "three hundred mice": Layout(
        {"BAT0": battery(4)} | {f"hid-{n}": battery(3, scope="Device") for n in range(300)},
        False,
        CRITICAL,
        4,
    ),
    "uninterruptible supply": Layout({"ups": battery(4) | {"type": "UPS"}}, False, CRITICAL, 4),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_what_is_allowed(supplies: PowerSupplies, layout: Layout) -> None:
    for name, files in layout.supplies.items():
        supplies.set(name, **files)
    host = Battery(supplies.root)
    power = Power(Thresholds(), host.read(), 0)
    assert power.level is not CRITICAL
    assert power.granting is layout.level
    power.update(host.read(), CONFIRM)
    assert power.level is layout.level
    assert power.reading.external is layout.external
    if layout.percent is not None:
        assert power.reading.percent == pytest.approx(layout.percent)
