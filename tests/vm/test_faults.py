# SPDX-License-Identifier: Apache-2.0
"""Faults that containers can't have: udevd fails, and the memory that the agent may have runs out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import main_pid, manager, request, sleeper, start

if TYPE_CHECKING:
    from vm.machine import Machine

_SERVICE = "missiond.service"
_UDEVD = "systemd-udevd.service"
_SOCKETS = ("systemd-udevd-control.socket", "systemd-udevd-kernel.socket")
_FAR_TOO_LITTLE, _AS_SHIPPED = "4M", "256M"


@pytest.fixture(autouse=True)
def mains(machine: Machine) -> Iterator[None]:
    """Leave it full and plugged in, with nobody's tasks."""
    yield
    machine.battery(100, plugged=True)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 100")
    machine.wait_for(lambda: machine.locks() == [])


@pytest.mark.parametrize("how", ["stop", "hang", "restart"])
def test_udevd_fails(machine: Machine, how: str) -> None:
    owner = sleeper(machine)
    number = request(machine, owner)
    pid = main_pid(machine, _UDEVD)
    if how == "hang":
        machine.run(["kill", "-STOP", pid])
        request(machine, owner)
        machine.run(["kill", "-CONT", pid])
    elif how == "stop":
        machine.systemctl("stop", *_SOCKETS, _UDEVD)
        request(machine, owner)
        machine.systemctl("start", *_SOCKETS, _UDEVD)
    else:
        machine.systemctl("restart", _UDEVD)
    for percent in (55, 15):
        machine.battery(percent)
        machine.wait_for(lambda: manager(machine, "BatteryPercent") == f"d {percent}")  # noqa: B023
    (left,) = machine.tasks("GetRemainingDelayTime", "u", str(number), user="alice")
    assert 0 < left <= 60_000
    assert manager(machine, "Degraded") == "as 0"
    owner.signal("KILL")


def test_the_kernel_kills_it_for_its_memory(machine: Machine) -> None:
    """As often as it is started; its locks keep the host awake meanwhile."""
    owner = sleeper(machine)
    number = request(machine, owner)
    start(machine, owner, "voip")
    before = sorted(lock.why for lock in machine.locks())
    restarts = int(machine.show(_SERVICE, "NRestarts"))
    _may_have(machine, _FAR_TOO_LITTLE)
    try:
        machine.wait_for(lambda: int(machine.show(_SERVICE, "NRestarts")) > restarts + 1, 30)
        assert sorted(lock.why for lock in machine.locks()) == before
    finally:
        _may_have(machine, _AS_SHIPPED)
    machine.wait_active()
    assert sorted(lock.why for lock in machine.locks()) == before
    assert request(machine, owner) == number + 1
    owner.signal("KILL")
    machine.wait_for(lambda: machine.show(_SERVICE, "NFileDescriptorStore") == "0")
    machine.systemctl("reset-failed", _SERVICE)
    machine.systemctl("restart", _SERVICE)  # which counts restarts from 0 again


def _may_have(machine: Machine, memory: str) -> None:
    machine.systemctl("set-property", "--runtime", _SERVICE, f"MemoryMax={memory}")
