# SPDX-License-Identifier: Apache-2.0
"""What the battery does to live tasks: readings from files, events as udev sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hosts.client import manager, refused, request, sleeper, start
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host


def _power(host: Host, percent: int, *, plugged: bool = False) -> None:
    host.power.laptop(percent, plugged=plugged)
    host.power_event()


def test_low_then_critical_then_plugged_in(host: Host) -> None:
    _power(host, 80)
    host.wait_for(lambda: manager(host, "BatteryPercent") == "d 80")
    assert manager(host, "LowBattery") == "b false"
    owner = sleeper(host)
    signals = Signals(host)
    long, short = request(host, owner), request(host, owner, "delay", "u", "30000")
    task = start(host, owner, "dataTransfer")

    _power(host, 20)
    host.wait_for(lambda: manager(host, "LowBattery") == "b true")
    (remaining,) = host.tasks("GetRemainingDelayTime", "u", str(long), user="alice")
    assert 50_000 < remaining <= 60_000
    (remaining,) = host.tasks("GetRemainingDelayTime", "u", str(short), user="alice")
    assert 20_000 < remaining <= 30_000
    assert len(host.locks()) == 3

    _power(host, 5)
    assert signals.wait("SuspendDelayEnded", long, "battery-critical")
    assert signals.wait("SuspendDelayEnded", short, "battery-critical")
    assert signals.wait("ContinuousTaskCancel", task, 2)
    host.wait_for(lambda: host.locks() == [])
    pid = ("pid", "u", str(owner.pid))
    assert "9900002" in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", *pid)
    assert "9800005" in refused(host, "StartBackgroundRunning", "asa{sv}", "1", "voip", "1", *pid)

    _power(host, 6, plugged=True)
    host.wait_for(lambda: manager(host, "OnExternalPower") == "b true")
    assert manager(host, "LowBattery") == "b false"
    assert host.tasks("RequestSuspendDelay", "sa{sv}", "x", "1", *pid, user="alice")[1] == 180_000
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_plugging_in_does_not_lengthen(host: Host) -> None:
    _power(host, 15)
    host.wait_for(lambda: manager(host, "LowBattery") == "b true")
    owner = sleeper(host)
    number = request(host, owner)
    _power(host, 15, plugged=True)
    host.wait_for(lambda: manager(host, "LowBattery") == "b false")
    (remaining,) = host.tasks("GetRemainingDelayTime", "u", str(number), user="alice")
    assert remaining <= 60_000
    owner.signal("KILL")


def test_nonsense_in_sysfs_grants_no_more(host: Host) -> None:
    _power(host, 15)
    host.wait_for(lambda: manager(host, "LowBattery") == "b true")
    for nonsense in ("", "garbage", "-3", "99999999999", None):
        host.power.set("BAT0", energy_now=nonsense, capacity=nonsense)
        host.power_event()
        owner = sleeper(host)
        number = request(host, owner)
        (remaining,) = host.tasks("GetRemainingDelayTime", "u", str(number), user="alice")
        assert remaining <= 60_000
        owner.signal("KILL")
        host.wait_for(lambda: host.locks() == [])
    _power(host, 90, plugged=True)
    host.wait_for(lambda: manager(host, "LowBattery") == "b false")
    assert host.show("missiond.service", "NRestarts") == "0"


def test_without_a_battery_nothing_is_low(host: Host) -> None:
    host.power.laptop(50)
    host.power.remove("BAT0")
    host.power.remove("AC0")
    host.power_event(action="remove")
    host.wait_for(lambda: manager(host, "BatteryPresent") == "b false")
    assert manager(host, "BatteryPercent") == "d -1"
    assert manager(host, "OnExternalPower") == "b true"
