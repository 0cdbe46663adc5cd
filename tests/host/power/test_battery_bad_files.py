# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.power.reading import MAINS
from missiond.host.power import supply
from missiond.host.power.battery import Battery
from standins.services.power_supplies import PowerSupplies, on_battery, silent

BAD: list[object] = [
    None,
    "",
    "abc",
    "-5",
    "250",
    "1e2",
    "50.5",
    "٣",
    "1_0",
    "9" * 30,
    "9" * 5000,
    b"\xff",
    b"5\x000",
]


@pytest.mark.parametrize("bad", BAD)
def test_bad_capacity_keeps_the_last_known(battery: Battery, supplies: PowerSupplies, bad: object) -> None:
    supplies.battery(capacity=bad)
    assert battery.read() == silent(None)
    supplies.battery(capacity=60)
    assert battery.read() == on_battery(60.0)
    supplies.battery(capacity=bad)
    assert battery.read() == silent(60.0)


@pytest.mark.parametrize("bad", BAD)
def test_bad_energy_falls_back_to_the_next_measure(
    battery: Battery, supplies: PowerSupplies, bad: object
) -> None:
    full = 100 if bad == "250" else 50
    for now, of in ((bad, full), (25, bad)):
        if of == "250":
            continue
        supplies.battery(energy_now=now, energy_full=of, capacity=33)
        assert battery.read() == on_battery(33.0)
    supplies.battery(energy_now=0, energy_full=0, capacity=33)
    assert battery.read().percent in (33.0, 0.0)


def test_directory_in_place_of_a_file(battery: Battery, supplies: PowerSupplies) -> None:
    for name in ("energy_now", "status", "present", "scope", "capacity"):
        supplies.battery(capacity=60)
        assert battery.read() == on_battery(60.0)
        (supplies.root / "BAT0" / name).unlink(missing_ok=True)
        (supplies.root / "BAT0" / name).mkdir()
        assert battery.read() == (silent(60.0) if name == "capacity" else on_battery(60.0))


def test_fifo_in_place_of_a_file_does_not_block(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery(capacity=None)
    os.mkfifo(supplies.root / "BAT0" / "capacity")
    assert battery.read().percent is None


def test_unreadable_file(battery: Battery, supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root sees of EACCES, and what a driver gives as ENODEV."""
    supplies.battery(capacity=60)
    real = os.open

    def refusing(path: object, *arguments: int, **options: int) -> int:
        if str(path).endswith(("capacity", "status")):
            raise PermissionError(path)
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    assert battery.read() == silent(None)


def test_type_that_can_not_be_read(battery: Battery, supplies: PowerSupplies) -> None:
    supplies.battery(capacity=10)
    supplies.set("BAT0", type=None)
    assert battery.read() == on_battery(10.0)
    supplies.set("other", capacity=10)
    supplies.set("BAT0", type="Mystery")
    assert battery.read() == MAINS


@pytest.mark.parametrize("step", range(8))
def test_battery_that_vanishes_while_it_is_read(
    battery: Battery, supplies: PowerSupplies, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    supplies.battery(energy_now=3, energy_full=10, capacity=30)
    assert battery.read() == on_battery(30.0)
    real, count = supply._text, iter(range(1000))

    def vanishing(file: Path) -> str:
        if next(count) == step:
            shutil.rmtree(supplies.root / "BAT0", ignore_errors=True)
        return real(file)

    monkeypatch.setattr(supply, "_text", vanishing)
    found = battery.read()
    assert found in (MAINS, on_battery(30.0), silent(30.0))
    assert found == MAINS or step > 0
    assert battery.read() == MAINS


def test_root_that_can_not_be_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.touch()
    battery = Battery(file)
    assert battery.read() == silent(None)
    assert battery.read() == silent(None)
    assert len(caplog.records) == 1


_CONTENT = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.integers(-10, 300).map(lambda number: str(number).encode()),
    st.sampled_from(
        [b"Battery", b"Mains", b"USB", b"Device", b"System", b"Charging", b"Discharging", b"Full"]
    ),
)
_FILES = [
    "type",
    "scope",
    "present",
    "status",
    "online",
    "energy_now",
    "energy_full",
    "capacity",
    "charge_now",
]
_SUPPLY = st.fixed_dictionaries({}, optional=dict.fromkeys(_FILES, _CONTENT))


@given(
    st.lists(st.dictionaries(st.sampled_from(["BAT0", "BAT1", "AC", "x"]), _SUPPLY), min_size=1, max_size=3)
)
def test_any_content_is_survived(
    tmp_path_factory: pytest.TempPathFactory, states: list[dict[str, dict[str, bytes | None]]]
) -> None:
    supplies = PowerSupplies(tmp_path_factory.mktemp("any"))
    battery = Battery(supplies.root)
    for state in states:
        for name, files in state.items():
            supplies.set(name, **files)
        found = battery.read()
        assert found.percent is None or 0 <= found.percent <= 100
        assert found.percent is None or found.percent <= found.at_most <= 100
        assert found.present or found == MAINS
    shutil.rmtree(supplies.root)
