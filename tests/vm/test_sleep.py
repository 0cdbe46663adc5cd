# SPDX-License-Identifier: Apache-2.0
"""Real sleep: a task delays it, its end lets it come, and what is due meanwhile happens once, after it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import manager, request, sleeper, start
from hosts.machine import MANAGER, TASKS
from hosts.signals import Signals
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
"""Seconds after the end of the last task in which an idle host sleeps."""


def _boot_time(machine: Machine) -> float:
    """Return seconds on CLOCK_BOOTTIME, which counts sleep as well."""
    return float(machine.run(["cat", "/proc/uptime"]).stdout.split()[0])


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


@pytest.mark.usefixtures("hook")
def test_an_idle_machine_sleeps_once_the_task_is_over(machine: Machine) -> None:
    owner = sleeper(machine)
    delay = 10_000
    before = request(machine, owner)
    with logind(machine, "IdleAction=suspend", "IdleActionSec=250ms"):
        machine.wait_for(lambda: _is_refused(machine))
        asked = machine.python(_REQUEST, str(owner.pid), str(delay), user="alice").split()[-2:]
        machine.tasks("CancelSuspendDelay", "u", str(before), user="alice")
        machine.wait_suspended(timeout=delay / 1000 + 10)
        machine.wake()
    earliest, latest = (float(stamp) + delay / 1000 for stamp in asked)
    asleep = float(machine.run(["cat", _ASLEEP_AT]).stdout.split()[0])
    print(f"asleep {asleep - earliest:.2f} to {asleep - latest:.2f} s after the end of the task")
    assert earliest <= asleep <= latest + _WITHIN
    assert machine.locks() == []
    owner.signal("KILL")


def _is_refused(machine: Machine) -> bool:
    """Whether logind, as it runs now, was kept from sleep by a lock."""
    since = f"_PID={machine.show('systemd-logind.service', 'MainPID')}"
    return "inhibited" in machine.journal(None, since)


@pytest.mark.usefixtures("overriding")
def test_deadlines_after_a_sleep_that_root_forced(machine: Machine) -> None:
    owner = sleeper(machine)
    signals = Signals(machine)
    before = _boot_time(machine)
    long = request(machine, owner, "delay", "u", "120000")
    soon = request(machine, owner, "delay", "u", "12000")
    task = start(machine, owner, "dataTransfer")
    after = _boot_time(machine)
    forced = machine.spawn(["systemctl", "suspend", "--ignore-inhibitors"])
    machine.wait_suspended()
    time.sleep(15)  # the time that it sleeps is what this is about
    machine.wake()
    assert forced.wait() == 0
    signals.wait("SuspendDelayEnded", soon, "expired")
    slept_until = _boot_time(machine)
    assert slept_until - after > 12
    (remaining,) = machine.tasks("GetRemainingDelayTime", "u", str(long), user="alice")
    now = _boot_time(machine)
    assert 120 - (now - before) - 0.1 <= remaining / 1000 <= 120 - (slept_until - after) + 0.1
    assert len(machine.locks()) == 2

    machine.tasks("CancelSuspendDelay", "u", str(long), user="alice")
    machine.tasks("CancelContinuousTask", "u", str(task), user="alice")
    signals.wait("ContinuousTaskCancel", task, 1)
    others = [(each.member, each.body[0]) for each in signals._seen]
    assert [number for member, number in others if member == "SuspendDelayEnded"] == [long]
    assert [number for member, number in others if member == "SuspendDelayExpiring"] in ([], [soon])
    owner.signal("KILL")
