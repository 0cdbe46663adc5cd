# SPDX-License-Identifier: Apache-2.0
"""A battery that the kernel's own driver reads, and events that the kernel sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import manager, refused, request, sleeper, start
from hosts.signals import Signals

if TYPE_CHECKING:
    from vm.machine import Machine


@pytest.fixture(autouse=True)
def mains(machine: Machine) -> Iterator[None]:
    """Leave it full and plugged in."""
    yield
    machine.battery(100, plugged=True)
    machine.wait_for(lambda: _seen(machine) == ("d 100", "b true", "b false"))


def _seen(machine: Machine) -> tuple[str, str, str]:
    percent, external, low = (
        manager(machine, name) for name in ("BatteryPercent", "OnExternalPower", "LowBattery")
    )
    return percent, external, low


@pytest.mark.full
def test_the_properties_follow(machine: Machine) -> None:
    assert manager(machine, "BatteryPresent") == "b true"
    for percent, plugged, low in (
        (55, False, False),
        (20, False, True),
        (20, True, False),
        (96, True, False),
    ):
        machine.battery(percent, plugged=plugged)
        expected = (f"d {percent}", f"b {str(plugged).lower()}", f"b {str(low).lower()}")
        machine.wait_for(lambda: _seen(machine) == expected)  # noqa: B023


def test_low_then_critical_then_plugged_in(machine: Machine) -> None:
    machine.battery(80)
    machine.wait_for(lambda: _seen(machine) == ("d 80", "b false", "b false"))
    owner = sleeper(machine)
    signals = Signals(machine)
    long = request(machine, owner)
    task = start(machine, owner, "dataTransfer")
    (remaining,) = machine.tasks("GetRemainingDelayTime", "u", str(long), user="alice")
    assert remaining > 60_000

    machine.battery(20)
    machine.wait_for(lambda: manager(machine, "LowBattery") == "b true")
    (remaining,) = machine.tasks("GetRemainingDelayTime", "u", str(long), user="alice")
    assert 0 < remaining <= 60_000
    assert len(machine.locks()) == 2

    machine.battery(5)
    signals.wait("SuspendDelayEnded", long, "battery-critical")
    signals.wait("ContinuousTaskSuspend")
    machine.wait_for(lambda: machine.locks() == [])
    pid = ("pid", "u", str(owner.pid))
    assert "9900002" in refused(machine, "RequestSuspendDelay", "sa{sv}", "x", "1", *pid)

    machine.battery(5, plugged=True)
    machine.wait_for(lambda: _seen(machine) == ("d 5", "b true", "b false"))
    signals.wait("ContinuousTaskActive", task)
    assert len(machine.locks()) == 1
    assert request(machine, owner) > long
    owner.signal("KILL")
    machine.wait_for(lambda: machine.locks() == [])


@pytest.mark.full
def test_a_driver_that_tells_of_no_percent_and_a_backup_that_is_plugged_in(machine: Machine) -> None:
    machine.battery(50)
    machine.wait_for(lambda: _seen(machine) == ("d 50", "b false", "b false"))
    backup = machine.spawn(["missionctl", "run", "--", "sleep", "600"], user="alice")
    machine.wait_for(lambda: len(machine.locks()) == 1, timeout=60.0)
    machine.battery(4, silent=True)  # from here on nobody asks the agent for anything
    machine.wait_for(lambda: machine.locks() == [], timeout=60.0)
    assert _seen(machine) == ("d 4", "b false", "b true")
    machine.battery(4, plugged=True)
    machine.wait_for(lambda: len(machine.locks()) == 1)
    assert manager(machine, "SuspendedTasks") == "u 0"
    backup.signal("KILL")
    machine.wait_for(lambda: machine.locks() == [])
