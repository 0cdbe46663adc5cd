# SPDX-License-Identifier: Apache-2.0
"""Real sleep: a task delays it, its end lets it come, and what is due meanwhile happens once, after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import manager, request, sleeper, start
from hosts.machine import MANAGER, TASKS
from hosts.witness import LATE, SLACK, Ledger, Witness
from vm.settings import DROP_IN, logind

if TYPE_CHECKING:
    from vm.machine import Machine

_HOOK = "/usr/lib/systemd/system-sleep/missiond-test"
_ASLEEP_AT = "/run/missiond-test-asleep"
_STAY_AWAKE = f"""#!/bin/sh
case $1 in
    pre) cat /proc/uptime >{_ASLEEP_AT} ;;
    post) rm -f {DROP_IN}; systemctl kill --signal=HUP systemd-logind.service ;;
esac
"""
_REQUEST = f"""
import subprocess, sys, time
now = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
before = now()
call = ["busctl", "call", "{MANAGER[0]}", "{MANAGER[1]}", "{TASKS}", "RequestSuspendDelay", "sa{{sv}}"]
subprocess.run([*call, "until then", "2", "pid", "u", sys.argv[1], "delay", "u", sys.argv[2]], check=True)
print(before, now())
"""
_RULE = "/etc/polkit-1/rules.d/40-missiond-test.rules"
_ROOT_OVERRIDES = """
polkit.addRule(function (action, subject) {
    if (action.id == "org.freedesktop.login1.suspend-ignore-inhibit" && subject.user == "root")
        return polkit.Result.YES;
});
"""
_WITHIN = 2.0
"""Seconds after the end of the last task in which an idle host sleeps, where it boots in _BOOT seconds."""
_BOOT = 30.0
_OUTLIER = """
import os, time
supply = "/sys/class/power_supply/BAT0/"
port = os.open("/dev/port", os.O_WRONLY)
for percent in (2, 80):
    os.pwrite(port, bytes([100 - percent | 0x80]), 0x2FF)
    while open(supply + "capacity").read().strip() != str(percent):
        time.sleep(0.05)
    with open(supply + "uevent", "w") as uevent:
        uevent.write("change")
"""
"""For a moment, until the kernel reads it again after a second, the battery is nearly empty."""
_LONG, _OVER, _WARNED, _WARNING = 150.0, 12.0, 24.0, 6.0
"""Seconds of three requests, and how long before its end one is told."""


@pytest.fixture
def hook(machine: Machine) -> Iterator[None]:
    """Note when the machine falls asleep, and be no more idle than before once it has slept."""
    machine.run(["mkdir", "-p", _HOOK.rpartition("/")[0]])
    machine.run(["tee", _HOOK], stdin=_STAY_AWAKE)
    machine.run(["chmod", "755", _HOOK])
    yield
    machine.run(["rm", "-f", _HOOK, _ASLEEP_AT])


@pytest.fixture
def overriding(machine: Machine) -> Iterator[None]:
    """Let root override locks, which from systemd 257 on takes polkit's consent."""
    machine.run(["tee", _RULE], stdin=_ROOT_OVERRIDES)
    machine.systemctl("restart", "polkit.service")
    machine.wait_for(lambda: manager(machine, "Degraded") == "as 0")
    yield
    machine.run(["rm", "-f", _RULE])
    machine.systemctl("restart", "polkit.service")
    machine.wait_for(lambda: manager(machine, "Degraded") == "as 0")


@pytest.fixture(autouse=True)
def awake(machine: Machine) -> Iterator[None]:
    """Leave it awake, with no locks."""
    machine.qemu.monitor.forget()
    yield
    if machine.qemu.monitor.status() == "suspended":
        machine.wake()
    machine.wait_for(lambda: machine.locks() == [])


@pytest.fixture
def witness(machine: Machine) -> Iterator[Witness]:
    """Somebody who owns tasks and listens."""
    found = Witness(machine)
    yield found
    found.close()


@pytest.mark.usefixtures("hook")
def test_an_idle_machine_sleeps_once_the_task_is_over(machine: Machine) -> None:
    owner = sleeper(machine)
    delay = 10_000
    before = request(machine, owner)
    with logind(machine, "IdleAction=suspend", "IdleActionSec=250ms"):
        machine.wait_for(lambda: _is_refused(machine), 30)
        asked = machine.python(_REQUEST, str(owner.pid), str(delay), user="alice").split()[-2:]
        machine.tasks("CancelSuspendDelay", "u", str(before), user="alice")
        machine.wait_suspended(timeout=delay / 1000 + 30)
        machine.wake()
    earliest, latest = (float(stamp) + delay / 1000 for stamp in asked)
    asleep = float(machine.run(["cat", _ASLEEP_AT]).stdout.split()[0])
    print(f"asleep {asleep - earliest:.2f} to {asleep - latest:.2f} s after the end of the task")
    assert earliest <= asleep <= latest + _WITHIN * max(1.0, machine.took / _BOOT)
    assert machine.locks() == []
    owner.signal("KILL")


def _is_refused(machine: Machine) -> bool:
    """Whether logind, as it runs now, was kept from sleep by a lock."""
    since = f"_PID={machine.show('systemd-logind.service', 'MainPID')}"
    return "inhibited" in machine.journal(None, since)


@pytest.mark.usefixtures("overriding")
@pytest.mark.parametrize(
    "how",
    [
        ["suspend", "--ignore-inhibitors"],
        pytest.param(["start", "suspend.target"], marks=pytest.mark.full),
    ],
    ids=" ".join,
)
def test_a_sleep_that_root_forced(machine: Machine, witness: Witness, how: list[str]) -> None:
    """Past the locks, or past logind as well: what was due is done once, after it, and slept time counts."""
    witness.do("listen")
    ledger = Ledger(witness)
    long, over = ledger.request(_LONG), ledger.request(_OVER)
    began = time.monotonic()
    warned = ledger.request(_WARNED)
    witness.do("start", "dataTransfer")
    forced = machine.spawn(["systemctl", *how])
    machine.wait_suspended()
    # What is to be warned of is, by now, and has not ended; that it sleeps for so long is what this is about.
    time.sleep(max(0.0, _WARNED - _WARNING / 2 - (time.monotonic() - began)))
    machine.wake()
    assert forced.wait() == 0
    woke = witness.do("heard").before
    witness.wait("SuspendDelayEnded", over)
    ended = witness.wait("SuspendDelayEnded", warned, _WARNED)
    ledger.check(long)
    assert len(machine.locks()) == 2

    earliest, latest = ledger.ends(warned)
    assert earliest - SLACK <= ended.at <= max(latest, woke) + LATE
    warnings = [each.arguments[0] for each in witness.heard("SuspendDelayExpiring")]
    assert (
        sorted(warnings) in ([warned], [over, warned])
        if woke < earliest
        else len(set(warnings)) == len(warnings)
    )
    assert [each.arguments for each in witness.heard("SuspendDelayEnded")] == [
        [over, "expired"],
        [warned, "expired"],
    ]
    assert witness.heard("ContinuousTaskCancel") == []
    witness.do("mission")
    witness.wait("MissionsChanged", "")
    witness.do("cancel", long)
    witness.do("stop")
    machine.wait_for(lambda: machine.locks() == [])
    assert len(witness.heard("SuspendDelayEnded")) == 3


@pytest.mark.full
@pytest.mark.usefixtures("overriding")
def test_a_battery_that_is_empty_for_a_moment_after_sleep(machine: Machine) -> None:
    machine.battery(80)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 80")
    owner = sleeper(machine)
    start(machine, owner, "dataTransfer")
    before = machine.journal("missiond.service").count("is suspended")
    forced = machine.spawn(["systemctl", "suspend", "--ignore-inhibitors"])
    machine.wait_suspended()
    machine.wake()
    assert forced.wait() == 0
    machine.python(_OUTLIER)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 80")
    assert len(machine.locks()) == 1
    assert machine.journal("missiond.service").count("is suspended") == before
    owner.signal("KILL")
    machine.wait_for(lambda: machine.locks() == [])
    machine.battery(100, plugged=True)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 100")
