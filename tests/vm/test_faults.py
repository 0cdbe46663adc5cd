# SPDX-License-Identifier: Apache-2.0
"""Faults that containers can't have: udevd fails, and the memory that the agent may have runs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hosts.client import main_pid, manager, request, sleeper
from hosts.held import Held
from hosts.witness import Ledger, Witness

if TYPE_CHECKING:
    from hosts.spawned import Spawned
    from vm.machine import Machine

_SERVICE = "missiond.service"
_UDEVD = "systemd-udevd.service"
_SOCKETS = ("systemd-udevd-control.socket", "systemd-udevd-kernel.socket")
_CROWD = "/mnt/crowd"
_FAR_TOO_LITTLE, _AS_SHIPPED = "4M", "256M"


@pytest.fixture(autouse=True)
def mains(machine: Machine) -> Iterator[None]:
    """Leave it full and plugged in, with nobody's tasks."""
    yield
    machine.end_spawned()
    _udevd_works(machine)
    machine.battery(100, plugged=True)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 100")
    machine.wait_for(lambda: machine.locks() == [])


@pytest.fixture
def held(machine: Machine) -> Held:
    """People at work, with the programs that containers find where these sources are."""
    machine.run(["mkdir", "-p", f"{_CROWD}/hosts/crowd"])
    for file in (Path(__file__).parents[1] / "hosts/crowd").glob("*.py"):
        machine.run(["tee", f"{_CROWD}/hosts/crowd/{file.name}"], stdin=file.read_text())
    return Held(machine)


def _udevd_fails(machine: Machine, how: str) -> None:
    if how == "hang":
        machine.run(["kill", "-STOP", main_pid(machine, _UDEVD)])
    elif how == "stop":
        machine.systemctl("stop", *_SOCKETS, _UDEVD)
    elif how == "kill":
        machine.systemctl("kill", "--signal=KILL", _UDEVD)
    else:
        machine.systemctl("restart", _UDEVD)


def _udevd_works(machine: Machine) -> None:
    machine.systemctl("kill", "--signal=CONT", _UDEVD, check=False)
    machine.systemctl("start", *_SOCKETS, _UDEVD)


@pytest.mark.timeout(400, func_only=True)
@pytest.mark.parametrize("how", ["stop", "hang", "restart", "kill"])
def test_udevd_fails(machine: Machine, held: Held, how: str) -> None:
    """No event of the battery is lost: the kernel tells of it as well."""
    _udevd_fails(machine, how)
    machine.battery(55, udev=False)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 55")
    held.reports()
    _udevd_works(machine)
    machine.battery(45)
    machine.wait_for(lambda: manager(machine, "BatteryPercent") == "d 45")
    held.check()


def test_a_battery_that_runs_low_while_udevd_hangs(machine: Machine) -> None:
    owner = sleeper(machine)
    number = request(machine, owner)
    _udevd_fails(machine, "hang")
    machine.battery(15, udev=False)
    machine.wait_for(lambda: manager(machine, "LowBattery") == "b true")
    (left,) = machine.tasks("GetRemainingDelayTime", "u", str(number), user="alice")
    assert 0 < left <= 60_000
    _udevd_works(machine)
    assert manager(machine, "Degraded") == "as 0"
    owner.signal("KILL")


@pytest.fixture
def restarting(machine: Machine) -> Iterator[Spawned]:
    """What systemd says of its restarts: to ask again and again would slow them down."""
    cursor = machine.journal(None, "--lines=0", "--show-cursor").rpartition("cursor: ")[2].strip()
    options = ["--follow", "--lines=all", "--output=cat", f"--after-cursor={cursor}", f"--unit={_SERVICE}"]
    said = machine.spawn(["journalctl", *options])
    yield said
    said.close()
    machine.systemctl("reset-failed", _SERVICE)
    machine.systemctl("restart", _SERVICE)  # which counts restarts from 0 again


def _wait_said(said: Spawned, text: str) -> None:
    for line in said.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not said")


@pytest.mark.timeout(400, func_only=True)
def test_the_kernel_kills_it_for_its_memory(machine: Machine, held: Held, restarting: Spawned) -> None:
    """As often as it is started; its locks keep the host awake meanwhile."""
    witness = Witness(machine, user=None)
    ledger = Ledger(witness)
    number = ledger.request(150.0)
    names = sorted([*held.names, f"transient task {number}: test"])
    restarts = int(machine.show(_SERVICE, "NRestarts"))
    _may_have(machine, _FAR_TOO_LITTLE)
    try:
        _wait_said(restarting, f"restart counter is at {restarts + 2}")
        assert set(names) <= {lock.why for lock in machine.locks()}
    finally:
        _may_have(machine, _AS_SHIPPED)
    _wait_said(restarting, f"Started {_SERVICE}")
    ledger.check(number)
    witness.do("cancel", number)
    witness.close()
    # dbus-daemon waits 25 s for a service to start (service_start_timeout), and here none can for longer
    held.check(also="TimedOut")


def _may_have(machine: Machine, memory: str) -> None:
    machine.systemctl("set-property", "--runtime", _SERVICE, f"MemoryMax={memory}")
