# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.power.reading import MAINS, PowerReading
from missiond.host.power import battery as battery_module
from missiond.host.power.battery import Battery, combined, reading
from missiond.host.power.supply import BatterySupply, Charge, Supplies, read_supplies
from standins.open_files import open_files
from standins.services.power_supplies import PowerSupplies, on_battery, on_mains, silent


def test_no_battery(battery: Battery, supplies: PowerSupplies) -> None:
    assert battery.read() == MAINS
    supplies.mains(online=1)
    assert battery.read() == MAINS
    supplies.mains(online=0)
    assert battery.read() == MAINS
    shutil.rmtree(supplies.root)
    assert battery.read() == MAINS


@pytest.mark.parametrize(
    ("files", "percent"),
    [
        ({"energy_now": 25_400_000, "energy_full": 50_000_000, "capacity": 50}, 50.8),
        ({"energy_now": 25_000_000, "energy_full": 50_000_000, "capacity": 59}, 59.0),
        ({"charge_now": 1_000_000, "charge_full": 4_000_000, "capacity": 26}, 25.0),
        ({"capacity": 42}, 42.0),
        ({"capacity": 0}, 0.0),
        ({"capacity": 100}, 100.0),
        ({"capacity": 105}, 100.0),
        ({"energy_now": 52, "energy_full": 50}, 100.0),
    ],
)
def test_one_battery(
    battery: Battery, supplies: PowerSupplies, files: dict[str, int], percent: float
) -> None:
    supplies.battery()
    supplies.set("BAT0", **files)
    assert battery.read() == on_battery(percent)
    supplies.battery(status="Charging")
    supplies.mains(online=1)
    assert battery.read() == on_mains(percent)
    supplies.battery()
    supplies.mains(online=0)
    assert battery.read() == on_battery(percent)


@pytest.mark.parametrize("unit", ["energy", "charge"])
def test_measures_that_contradict_each_other(battery: Battery, supplies: PowerSupplies, unit: str) -> None:
    for now, capacity in ((30, 4), (2, 60)):
        supplies.battery(capacity=capacity)
        supplies.set("BAT0", **{f"{unit}_now": now, f"{unit}_full": 50})
        found = battery.read()
        assert found.percent == min(2 * now, capacity)
        assert found.most == pytest.approx(max(2 * now, capacity))
    supplies.battery(capacity=80)
    supplies.set("BAT0", **{f"{unit}_now": 0})
    assert battery.read() == on_battery(80.0)


def test_batteries_that_contradict_themselves_add_up(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery("BAT0", energy_now=20, energy_full=100, capacity=80)
    supplies.battery("BAT1", energy_now=50, energy_full=100, capacity=50)
    found = battery.read()
    assert (found.percent, found.most) == (35.0, 65.0)


@pytest.mark.parametrize(
    ("status", "external", "discharging"),
    [
        ("Charging", True, False),
        ("Full", True, False),
        ("Not charging", True, False),
        ("Discharging", False, True),
        ("Unknown", False, True),
        ("", False, True),
        ("nonsense", False, True),
        (b"\xff\xfe", False, True),
        (None, False, True),
    ],
)
def test_status_where_the_host_shows_no_mains(
    battery: Battery, supplies: PowerSupplies, status: str, external: bool, discharging: bool
) -> None:
    supplies.battery(status=status, capacity=50)
    assert battery.read() == PowerReading(True, 50.0, external, discharging)


@pytest.mark.parametrize(
    ("online", "status", "external", "discharging"),
    [
        (1, "Discharging", True, True),
        (1, "Charging", True, False),
        (2, "Not charging", True, False),
        (0, "Charging", False, False),
        (0, "Full", False, False),
        (0, "Unknown", False, True),
        (0, "Discharging", False, True),
        (None, "Discharging", False, True),
        (-1, "Discharging", False, True),
        ("yes", "Discharging", False, True),
        ("", "Unknown", False, True),
        ("", "Charging", False, False),
    ],
)
def test_mains(
    battery: Battery, supplies: PowerSupplies, online: object, status: str, external: bool, discharging: bool
) -> None:
    supplies.battery(status=status, capacity=50)
    supplies.mains(online=online)
    assert battery.read() == PowerReading(True, 50.0, external, discharging)


def test_a_port_that_feeds_something_is_no_external_power(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery(capacity=50)
    supplies.mains(online=0)
    supplies.set("ucsi-source-psy-1", type="USB", online=1, status="Discharging")
    assert battery.read() == on_battery(50.0)


def test_a_battery_that_charges_outweighs_its_neighbour(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery("BAT0", "Discharging", capacity=50)
    supplies.battery("BAT1", "Charging", capacity=50)
    supplies.mains(online=1)
    assert battery.read() == on_mains(50.0)
    supplies.mains(online=0)
    assert battery.read() == on_battery(50.0)


@pytest.mark.parametrize("status", ["Unknown", "", None])
def test_zero_without_a_status_tells_nothing(
    battery: Battery, supplies: PowerSupplies, status: str | None
) -> None:
    supplies.battery(capacity=80, energy_now=40, energy_full=50)
    assert battery.read() == on_battery(80.0)
    supplies.set("BAT0", status=status, capacity=0, energy_now=0)
    assert battery.read() == silent(80.0)
    supplies.set("BAT0", energy_now=30)
    assert battery.read() == on_battery(60.0)


def test_any_external_supply_counts(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery(capacity=50)
    supplies.mains(online=0)
    for name, kind in (("ucsi-source-psy-1", "USB"), ("charger", "USB_PD"), ("qi", "Wireless")):
        supplies.set(name, type=kind, online=1)
        assert battery.read().external
        supplies.set(name, online=0)
        assert not battery.read().external
    supplies.set("phone", type="USB", scope="Device", online=1)
    assert not battery.read().external


def test_supplies_of_devices_are_not_the_hosts(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.set("hidpp_battery_0", type="Battery", scope="Device", status="Discharging", capacity=3)
    assert battery.read() == MAINS
    supplies.battery(capacity=80)
    assert battery.read() == on_battery(80.0)


def test_empty_slot_is_no_battery(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.set("BAT0", type="Battery", present=0, status="Unknown")
    assert battery.read() == MAINS
    supplies.battery("BAT1", capacity=70)
    assert battery.read() == on_battery(70.0)


def test_several_batteries_count_by_energy(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery("BAT0", energy_now=10, energy_full=10)
    supplies.battery("BAT1", status="Not charging", energy_now=0, energy_full=90)
    assert battery.read() == on_battery(10.0)


def test_two_batteries_one_idle(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery("BAT0", "Unknown", capacity=100)
    supplies.battery("BAT1", "Charging", capacity=50)
    assert battery.read() == on_mains(75.0)
    supplies.battery("BAT1", "Discharging", capacity=50)
    assert battery.read() == on_battery(75.0)


def test_ups_is_a_battery(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.set("ups", type="UPS", status="Discharging", capacity=15)
    assert battery.read() == on_battery(15.0)


def test_batteries_come_and_go(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery(capacity=60)
    assert battery.read() == on_battery(60.0)
    supplies.remove("BAT0")
    assert battery.read() == MAINS
    supplies.battery(capacity="?")
    assert battery.read() == silent(None)


def test_one_of_two_does_not_tell(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery("BAT0", capacity=80)
    supplies.battery("BAT1", capacity="")
    assert battery.read() == on_battery(80.0)
    supplies.battery("BAT1", capacity=20)
    assert battery.read() == on_battery(50.0)
    supplies.battery("BAT1", capacity="")
    assert battery.read() == on_battery(50.0)
    supplies.battery("BAT0", capacity="")
    assert battery.read() == silent(50.0)


def test_nothing_stays_open(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery(energy_now=3, energy_full=10)
    supplies.mains(online=0)
    before = open_files()
    battery.read()
    assert open_files() == before


def test_this_host_can_be_read() -> None:
    found = Battery().read()
    assert found.present or found == MAINS


_CHARGES = st.builds(
    lambda full, part, unit: Charge(full * part, full, unit),
    st.floats(1, 1e9),
    st.floats(0, 1),
    st.sampled_from(["energy", "charge", "capacity"]),
)


@given(st.lists(_CHARGES, min_size=1, max_size=4))
def test_combined_lies_between_the_emptiest_and_the_fullest(charges: list[Charge]) -> None:
    percents = [one.percent for one in charges]
    found = combined(charges)
    assert found is not None
    assert min(percents) - 1e-6 <= found <= max(percents) + 1e-6


@given(
    st.lists(st.sampled_from(["charging", "discharging", "full", "not charging", "unknown", ""]), min_size=1),
    st.lists(st.sampled_from([True, False, None])),
)
def test_doubt_is_never_external_power(statuses: list[str], lines: list[bool | None]) -> None:
    batteries = tuple(BatterySupply(f"BAT{n}", status, ()) for n, status in enumerate(statuses))
    found = reading(Supplies(batteries, tuple(lines)), {})
    assert found.present
    if "discharging" in statuses and (True not in lines or "charging" not in statuses):
        assert found.discharging
    if not lines and "charging" not in statuses and {"unknown", ""} & set(statuses):
        assert found.discharging
    if True in lines:
        assert found.external


def test_read_supplies_raises_only_for_the_directory(tmp_path: Path) -> None:
    assert read_supplies(tmp_path / "missing") == Supplies((), ())
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        read_supplies(tmp_path / "file")


def test_watch_can_be_repeated_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_Events] = []

    class _Events:
        active = True

        def __init__(self, callback: Callable[[], None], source: str | None) -> None:
            self.callback, self.source, self.closed = callback, source, 0
            made.append(self)

        def close(self) -> None:
            self.closed += 1

    monkeypatch.setattr(battery_module, "PowerEvents", _Events)
    monkeypatch.setattr(battery_module, "event_sources", lambda: ["udev", "kernel"])
    battery = Battery()
    assert not battery.watching
    battery.watch(lambda: None)
    battery.watch(lambda: None, "kernel")
    assert battery.watching
    battery.close()
    battery.close()
    assert not battery.watching
    assert [(events.source, events.closed) for events in made] == [
        ("udev", 1),
        ("kernel", 1),
        ("kernel", 1),
    ]
