# SPDX-License-Identifier: Apache-2.0
"""Whom systemd-oomd kills when memory gets short: what owns a continuous task last of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import main_pid

if TYPE_CHECKING:
    from vm.machine import Machine

pytestmark = pytest.mark.timeout(240, func_only=True)
_SLICE = "short.slice"
_OOMD = "systemd-oomd.service"
_SETTINGS = "[OOM]\nDefaultMemoryPressureDurationSec=1s\n"
_READER = """
import mmap, sys
with open("/var/tmp/large", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
    while True:
        for place in range(0, len(pages), int(sys.argv[1]) * mmap.PAGESIZE):
            pages[place]
"""
"""Reads a file that is larger than the memory it may have, every so many pages of it."""


@pytest.fixture
def oomd(machine: Machine) -> Iterator[None]:
    """It runs, and looks after a slice."""
    machine.run(["mkdir", "-p", "/run/systemd/oomd.conf.d"])
    machine.run(["tee", "/run/systemd/oomd.conf.d/fast.conf"], stdin=_SETTINGS)
    machine.run(["dd", "if=/dev/zero", "of=/var/tmp/large", "bs=1M", "count=64", "status=none"])
    machine.systemctl("start", _OOMD)
    pressure = ("ManagedOOMMemoryPressure=kill", "ManagedOOMMemoryPressureLimit=5%")
    machine.systemctl("set-property", "--runtime", _SLICE, *pressure)
    yield
    for name in ("owner.service", "other.service", _SLICE, _OOMD):
        machine.systemctl("stop", name)
    machine.systemctl("reset-failed", "owner.service", "other.service", check=False)
    machine.systemctl("revert", _SLICE)
    machine.run(["rm", "-r", "/run/systemd/oomd.conf.d", "/var/tmp/large"])
    machine.wait_for(lambda: machine.locks() == [])


def _read(machine: Machine, name: str, step: int) -> int:
    """Start a service of alice's that is short of memory."""
    options = [f"--unit={name}.service", f"--slice={_SLICE}", "--uid=alice", "--property=MemoryHigh=16M"]
    machine.run(["systemd-run", "--quiet", *options, "--", "python3", "-c", _READER, str(step)])
    return int(main_pid(machine, f"{name}.service"))


def _killed(machine: Machine, name: str) -> bool:
    return machine.show(f"{name}.service", "Result") == "oom-kill"


@pytest.mark.parametrize("protected", [False, True])
def test_who_is_killed_first(machine: Machine, oomd: None, protected: bool) -> None:
    """The owner is in greater need of memory: without its task it would be first."""
    owner = _read(machine, "owner", 1)
    if protected:
        machine.tasks(
            "StartBackgroundRunning", "asa{sv}", "1", "voip", "1", "pid", "u", str(owner), user="alice"
        )
    _read(machine, "other", 8)
    try:
        machine.wait_for(lambda: _killed(machine, "owner") or _killed(machine, "other"), 10)
    except TimeoutError:
        for c in (
            "cat /sys/fs/cgroup/short.slice/memory.pressure",
            "cat /sys/fs/cgroup/short.slice/memory.stat | grep pgscan",
            "systemctl status systemd-oomd",
            "oomctl",
            "systemctl status owner other",
            "cat /sys/fs/cgroup/short.slice/owner.service/memory.pressure",
            "cat /sys/fs/cgroup/short.slice/owner.service/memory.high /sys/fs/cgroup/short.slice/owner.service/memory.current",
            "ls -la /var/tmp",
            "journalctl -u systemd-oomd -n 20",
            "systemctl cat short.slice",
        ):
            print(c, machine.run(["sh", "-c", c], check=False).stdout)
        raise
    assert (_killed(machine, "owner"), _killed(machine, "other")) == (not protected, protected)
    if protected:
        assert len(machine.locks()) == 1
