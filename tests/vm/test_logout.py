# SPDX-License-Identifier: Apache-2.0
"""Logging out where logind ends what users leave behind (KillUserProcesses=yes, logind.conf(5))."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from vm.console import Console
from vm.settings import logind

if TYPE_CHECKING:
    from vm.machine import Machine

_START = "missionctl run --mode dataTransfer --keep-alive=protect -- sleep 600 &"


@pytest.fixture
def console(machine: Machine) -> Iterator[Console]:
    """Alice, logged in on a host that kills."""
    with logind(machine, "KillUserProcesses=yes", "UserStopDelaySec=0"):
        opened = Console(machine)
        try:
            yield opened
        finally:
            opened.close()
            machine.run(["pkill", "-KILL", "-u", "alice", "-x", "sleep|tail"], check=False)
            machine.wait_for(lambda: machine.locks() == [])
            # nobody is logged in then: killed on its way, her service manager would have failed
            machine.wait_for(lambda: machine.show("user@1000.service", "ActiveState") == "inactive")


def _alive(machine: Machine, pid: int) -> bool:
    return machine.run(["kill", "-0", str(pid)], check=False).returncode == 0


def test_what_owns_no_task_is_killed(machine: Machine, console: Console) -> None:
    pid = console.run("setsid sleep 600 &", "sleep")
    console.logout()
    machine.wait_for(lambda: not _alive(machine, pid))


def test_what_owns_a_continuous_task_goes_on(machine: Machine, console: Console) -> None:
    owner = console.run(_START, "sleep")
    # Its call is answered once it is moved, or after seconds: too few where processors are emulated.
    group = ["cat", f"/proc/{owner}/cgroup"]
    machine.wait_for(lambda: "missiond-keep@1000.service" in machine.run(group).stdout, 60)
    witness = console.run("setsid tail -f /dev/null &", "tail")
    console.logout()
    machine.wait_for(lambda: not _alive(machine, witness))
    machine.wait_for(lambda: "No jobs" in machine.systemctl("list-jobs"))
    assert _alive(machine, owner)
    assert len(machine.locks()) == 1
    (task,) = machine.tasks("GetAllContinuousTasks", "b", "false")[0]
    assert task["pid"]["data"] == owner
    machine.run(["kill", str(owner)])
    machine.wait_for(lambda: machine.locks() == [])
