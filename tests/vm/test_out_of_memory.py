# SPDX-License-Identifier: Apache-2.0
"""Whom the kernel kills when memory runs out: not what owns a continuous task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

from hosts.client import main_pid

if TYPE_CHECKING:
    from vm.machine import Machine

_SLICE = "user-1000.slice"
_EATER = """
import sys, time
memory = bytearray(b"x") * (int(sys.argv[1]) << 20)
time.sleep(600)
"""


class Pair(NamedTuple):
    """Two processes that do nothing; the one that owns a task is the larger."""

    owner: int
    other: int
    task: int


def _start(machine: Machine, name: str, megabytes: int) -> None:
    """Start a process of alice's that uses so much memory."""
    options = ["--quiet", "--collect", f"--unit={name}.service", f"--slice={_SLICE}", "--uid=alice"]
    machine.run(["systemd-run", *options, "--", "python3", "-c", _EATER, str(megabytes)])


def _eat(machine: Machine, name: str, megabytes: int) -> int:
    """Start one, and return it once it has the memory."""
    _start(machine, name, megabytes)
    pid = int(main_pid(machine, f"{name}.service"))
    machine.wait_for(lambda: _resident(machine, pid) >= megabytes << 10)
    return pid


def _resident(machine: Machine, pid: int) -> int:
    """Return KiB."""
    return int(machine.run(["ps", "-o", "rss=", "-p", str(pid)], check=False).stdout or 0)


def _score(machine: Machine, pid: int) -> int:
    return int(machine.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout)


def _pair(machine: Machine, megabytes: int) -> Pair:
    owner, other = _eat(machine, "owner", megabytes + 20), _eat(machine, "other", megabytes)
    arguments = ("1", "dataTransfer", "1", "pid", "u", str(owner))
    task = machine.tasks("StartBackgroundRunning", "asa{sv}", *arguments, user="alice")[3]
    machine.wait_for(lambda: _score(machine, owner) < 0)
    return Pair(owner, other, int(task))


def _check(machine: Machine, pair: Pair) -> None:
    """The other is gone, the owner is not, and its task and lock are as they were."""
    machine.wait_for(lambda: machine.show("other.service", "MainPID") == "0")
    machine.wait_for(lambda: f"Killed process {pair.other} " in machine.journal(None, "--dmesg"))
    assert f"Killed process {pair.owner} " not in machine.journal(None, "--dmesg")
    assert machine.show("owner.service", "MainPID") == str(pair.owner)
    (tasks,) = machine.tasks("GetAllContinuousTasks", "b", "false", user="alice")
    assert [task["continuous-task-id"]["data"] for task in tasks] == [pair.task]
    assert len(machine.locks()) == 1
    assert machine.show("missiond.service", "NRestarts") == "0"


@pytest.fixture(autouse=True)
def nothing_left(machine: Machine) -> Iterator[None]:
    """End all that was started."""
    yield
    for name in ("owner", "other", "third"):
        machine.systemctl("stop", f"{name}.service", check=False)
    machine.wait_for(lambda: machine.locks() == [])


def test_within_the_limit_of_the_user(machine: Machine) -> None:
    machine.systemctl("set-property", "--runtime", _SLICE, "MemoryMax=300M")
    try:
        pair = _pair(machine, 100)
        _start(machine, "third", 90)
        _check(machine, pair)
    finally:
        machine.systemctl("set-property", "--runtime", _SLICE, "MemoryMax=infinity")


@pytest.mark.full
def test_on_the_whole_machine(machine: Machine) -> None:
    """The kernel is asked to do now what it does when nothing is left (sysrq.rst, "f").

    Until it finds that out by itself, a machine without swap reads its programs again and again, for minutes.
    """
    pair = _pair(machine, 150)
    machine.python("open('/proc/sysrq-trigger', 'w').write('f')")
    _check(machine, pair)
