# SPDX-License-Identifier: Apache-2.0
"""What freezes while a continuous task lives in it is thawed, and its service manager knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hosts.machine import Host
from hosts.people import Terminal

_LOOP = """
import os, sys, time
directories, seconds = sys.argv[2:], float(sys.argv[1])
end = time.monotonic() + seconds
while time.monotonic() < end:
    for directory in directories:
        with open(directory + "/cgroup.freeze", "w") as file:
            file.write("1")
"""

_FREEZE = """
import pathlib, sys
from missiond.units.user_manager import ManagerError, UserManager
with UserManager(pathlib.Path("/run/user/1000"), 20) as manager:
    try:
        manager.call("FreezeUnit", "s", (sys.argv[1],))
    except ManagerError as error:
        if "aborted" not in str(error):
            raise
"""
"""What systemctl does by way of the user's bus, which need not be there.

systemd says that freezing is aborted where the unit is thawed before its manager has seen it frozen.
"""


def _as_alice(host: Host, *command: str) -> str:
    place = "XDG_RUNTIME_DIR=/run/user/1000"
    return host.run(["env", place, *command], user="alice", timeout=60).stdout.strip()


@pytest.fixture(scope="module")
def login(host: Host) -> Iterator[None]:
    """Alice is logged in."""
    Terminal(host, "freezing")
    host.wait_active("user@1000.service")
    host.wait_for(
        lambda: host.run(["test", "-S", "/run/user/1000/systemd/private"], check=False).returncode == 0
    )
    yield
    host.systemctl("stop", "terminal-freezing.service", check=False)


def _task(host: Host, pid: str, user: str | None = "alice") -> str:
    pairs = ("1", "voip", "2", "pid", "u", pid, "context", "s", pid)
    return str(host.tasks("StartBackgroundRunning", "asa{sv}", *pairs, user=user)[3])


@pytest.mark.parametrize("what", ["app-x-1.service", "app.slice"])
@pytest.mark.usefixtures("login")
def test_units_of_a_user_are_thawed_in_their_managers_books(host: Host, what: str) -> None:
    """So that they can be stopped: systemd 257 stops nothing that it takes for frozen."""
    unit = "app-x-1.service"
    _as_alice(host, "systemd-run", "--user", "--quiet", f"--unit={unit}", "sleep", "500")
    _task(host, _as_alice(host, "systemctl", "--user", "show", "--property=MainPID", "--value", unit))
    shown = ("systemctl", "--user", "show", "--property=FreezerState", "--value", what, unit)
    for _ in range(2):
        _as_alice(host, "python3", "-c", _FREEZE, what)
        # a unit in a frozen slice counts as frozen for itself, and hears of the thaw for itself
        host.wait_for(lambda: set(_as_alice(host, *shown).split()) == {"running"}, 30)
        group = _as_alice(host, "systemctl", "--user", "show", "--property=ControlGroup", "--value", what)
        assert "frozen 0" in host.run(["cat", f"/sys/fs/cgroup{group}/cgroup.events"]).stdout
    _as_alice(host, "systemctl", "--user", "stop", unit)
    host.wait_for(lambda: host.locks() == [])


@pytest.mark.parametrize("user", ["alice", "root"])
def test_services_of_the_system_are_thawed_too(host: Host, user: str) -> None:
    """A task holds the host awake for what runs; who wants it frozen ends the task first."""
    unit = f"frozen-{user}.service"
    pid = host.systemd_run(unit, ["sleep", "500"], user=user)
    _task(host, str(pid), None if user == "root" else user)
    host.systemctl("freeze", unit)
    host.wait_for(lambda: host.show(unit, "FreezerState") == "running", 30)
    group = host.show(unit, "ControlGroup")
    assert "frozen 0" in host.run(["cat", f"/sys/fs/cgroup{group}/cgroup.events"]).stdout
    host.systemctl("stop", unit)
    host.wait_for(lambda: host.locks() == [])


@pytest.mark.usefixtures("login")
def test_who_freezes_in_a_loop_costs_little(host: Host) -> None:
    """Neither the agent's time nor the journal is theirs."""
    units = [f"loop-{number}.service" for number in range(8)]
    for unit in units:
        _as_alice(host, "systemd-run", "--user", "--quiet", f"--unit={unit}", "sleep", "500")
        _task(host, _as_alice(host, "systemctl", "--user", "show", "--property=MainPID", "--value", unit))
    groups = [
        "/sys/fs/cgroup"
        + _as_alice(host, "systemctl", "--user", "show", "--property=ControlGroup", "--value", unit)
        for unit in units
    ]
    seconds = 5
    lines = host.journal("missiond.service").count("thawed")
    before = _processor(host)
    _as_alice(host, "python3", "-c", _LOOP, str(seconds), *groups)
    took = _processor(host) - before
    print(f"the agent took {took:.2f} s of {seconds} s")
    assert took < 0.3 * seconds
    assert host.journal("missiond.service").count("thawed") - lines < 20
    for group, unit in zip(groups, units, strict=True):
        _wait_thawed(host, group)
        state = ("systemctl", "--user", "show", "--property=FreezerState", "--value", unit)
        host.wait_for(lambda state=state: _as_alice(host, *state) == "running")  # type: ignore[misc]
    _as_alice(host, "systemctl", "--user", "stop", *units)
    host.wait_for(lambda: host.locks() == [])


def _wait_thawed(host: Host, group: str) -> None:
    """In a loop they wait for some seconds."""
    host.wait_for(lambda: "frozen 0" in host.run(["cat", f"{group}/cgroup.events"]).stdout, 30)


def _processor(host: Host) -> float:
    """Processor time of the agent so far, in seconds."""
    pid = host.show("missiond.service", "MainPID")
    fields = host.run(["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()
    ticks = int(host.run(["getconf", "CLK_TCK"]).stdout)
    return (int(fields[11]) + int(fields[12])) / ticks
