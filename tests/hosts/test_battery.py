# SPDX-License-Identifier: Apache-2.0
"""What the battery does to live tasks: readings from files, events as udev sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hosts.client import main_pid, manager, refused, request, sleeper, start
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host


CRITICAL = "the battery is critical: the task has its lock again on external power, or when it is charged"


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
    assert "20 %, on battery, low\n" in host.run(["missionctl", "status"]).stdout

    _power(host, 5)
    assert signals.wait("SuspendDelayEnded", long, "battery-critical")
    assert signals.wait("SuspendDelayEnded", short, "battery-critical")
    assert signals.wait("ContinuousTaskSuspend", task, 32, CRITICAL)
    host.wait_for(lambda: host.locks() == [])
    assert "5 %, on battery, critical\n" in host.run(["missionctl", "status"]).stdout
    pid = ("pid", "u", str(owner.pid))
    assert "9900002" in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", *pid)
    assert "9800005" in refused(host, "StartBackgroundRunning", "asa{sv}", "1", "voip", "1", *pid)

    _power(host, 6, plugged=True)
    host.wait_for(lambda: manager(host, "OnExternalPower") == "b true")
    assert manager(host, "LowBattery") == "b false"
    assert "6 %, on external power\n" in host.run(["missionctl", "status"]).stdout
    assert signals.wait("ContinuousTaskActive", task)
    assert len(host.locks()) == 1
    assert host.tasks("RequestSuspendDelay", "sa{sv}", "x", "1", *pid, user="alice")[1] == 180_000
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_a_driver_that_tells_of_no_percent(host: Host) -> None:
    _power(host, 50)
    host.wait_for(lambda: manager(host, "BatteryPercent") == "d 50")
    owner = sleeper(host)
    task = start(host, owner, "dataTransfer")
    host.power.laptop(3)  # without an event, and nobody asks the agent for anything
    host.wait_for(lambda: host.locks() == [], timeout=60.0)
    assert manager(host, "BatteryPercent") == "d 3"
    assert "[suspended: battery critical]" in host.run(["missionctl", "tasks"]).stdout
    assert "1 continuous (1 suspended)" in host.run(["missionctl", "status"]).stdout

    for command in (["systemctl", "restart", "missiond"], ["systemctl", "kill", "-sKILL", "missiond"]):
        restarted = main_pid(host, "missiond.service")
        host.run(command)
        host.wait_for(lambda: host.show("missiond.service", "MainPID") not in ("0", restarted))  # noqa: B023
        host.wait_for(lambda: manager(host, "SuspendedTasks") == "u 1")
        assert host.locks() == []

    signals = Signals(host)
    _power(host, 4, plugged=True)
    assert signals.wait("ContinuousTaskActive", task)
    assert len(host.locks()) == 1
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_external_supplies_that_do_not_feed_the_host(host: Host) -> None:
    owner = sleeper(host)
    pid = ("pid", "u", str(owner.pid))
    supplies: list[tuple[str, dict[str, object]]] = [
        ("AC0", {"type": "Mains", "online": 1}),
        ("tps6598x-source-psy-0", {"type": "USB", "online": 1}),
        ("ucsi-source-psy-1", {"type": "USB", "online": 1, "status": "Discharging"}),
    ]
    for name, files in supplies:
        host.power.laptop(15)
        host.power.set(name, **files)
        host.power_event()
        host.wait_for(lambda: manager(host, "LowBattery") == "b true")
        feeding = "false" if "status" in files else "true"
        host.wait_for(lambda: manager(host, "OnExternalPower") == f"b {feeding}")  # noqa: B023
        host.power.laptop(4)
        host.power.set(name, **files)
        host.power_event()
        host.wait_for(lambda: manager(host, "BatteryPercent") == "d 4")
        assert "9900002" in refused(host, "RequestSuspendDelay", "sa{sv}", "x", "1", *pid)
        host.power.remove(name)
    owner.signal("KILL")


def test_one_look_that_tells_nothing(host: Host) -> None:
    _power(host, 80)
    host.wait_for(lambda: manager(host, "BatteryPercent") == "d 80")
    owner = sleeper(host)
    start(host, owner, "dataTransfer")
    signals = Signals(host)
    readings: list[dict[str, object]] = [
        {"status": "Unknown", "energy_now": 0, "capacity": 0},
        {"energy_now": 1_000_000, "capacity": 2},
    ]
    for percent, nothing in enumerate(readings, 78):
        host.power.set("BAT0", **nothing)
        host.power_event()
        assert host.tasks("RequestSuspendDelay", "sa{sv}", "x", "0", user="alice")[1] == 180_000
        _power(host, percent)
        host.wait_for(lambda: manager(host, "BatteryPercent") == f"d {percent}")  # noqa: B023
    assert len(host.locks()) == 1
    assert not any("ContinuousTaskSuspend" in line for line in signals.lines)
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
    restarts = host.show("missiond.service", "NRestarts")
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
    assert host.show("missiond.service", "NRestarts") == restarts


def test_without_a_battery_nothing_is_low(host: Host) -> None:
    host.power.laptop(50)
    host.power.remove("BAT0")
    host.power.remove("AC0")
    host.power_event(action="remove")
    host.wait_for(lambda: manager(host, "BatteryPresent") == "b false")
    assert manager(host, "BatteryPercent") == "d -1"
    assert manager(host, "OnExternalPower") == "b true"
