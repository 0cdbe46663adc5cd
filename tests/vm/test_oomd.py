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
import mmap, os, sys, time
while not os.path.exists(sys.argv[3]):
    time.sleep(0.2)
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
    while True:
        for place in range(0, len(pages), mmap.PAGESIZE):
            pages[place]
            if not place % (1 << 20):
                time.sleep(float(sys.argv[2]))
"""
"""Reads a file that is larger than the memory it may have, a pause after each MiB, once it is told to."""
_GO = "/run/missiond-test-go"
_FILES = (
    "for name in owner other; do dd if=/dev/zero of=/var/tmp/$name bs=1M count=48 status=none; done; sync"
)
_ATTRIBUTES = "import os, sys; print(*os.listxattr(sys.argv[1]))"


@pytest.fixture
def oomd(machine: Machine) -> Iterator[None]:
    """It runs, and looks after a slice."""
    machine.run(["mkdir", "-p", "/run/systemd/oomd.conf.d"])
    machine.run(["tee", "/run/systemd/oomd.conf.d/fast.conf"], stdin=_SETTINGS)
    # out of memory again, so that they count as that of who reads them
    machine.run(["sh", "-c", f"{_FILES}; echo 1 >/proc/sys/vm/drop_caches"])
    machine.systemctl("start", _OOMD)
    pressure = ("ManagedOOMMemoryPressure=kill", "ManagedOOMMemoryPressureLimit=5%")
    machine.systemctl("set-property", "--runtime", _SLICE, *pressure)
    yield
    for name in ("owner.service", "other.service"):  # one of them is gone, and the other slow to end
        machine.systemctl("kill", "--signal=KILL", name, check=False)
        machine.systemctl("stop", name, check=False)
    machine.systemctl("stop", _SLICE, _OOMD)
    machine.systemctl("reset-failed", "owner.service", "other.service", check=False)
    machine.systemctl("revert", _SLICE)
    machine.run(["rm", "-rf", "/run/systemd/oomd.conf.d", "/var/tmp/owner", "/var/tmp/other", _GO])
    machine.wait_for(lambda: machine.locks() == [])


def _read(machine: Machine, name: str, pause: float) -> int:
    """Start a service of alice's that wants more memory than it has."""
    options = [f"--unit={name}.service", f"--slice={_SLICE}", "--uid=alice", "--property=MemoryHigh=16M"]
    program = ["python3", "-c", _READER, f"/var/tmp/{name}", str(pause), _GO]
    machine.run(["systemd-run", "--quiet", *options, "--", *program])
    return int(main_pid(machine, f"{name}.service"))


def _is_marked(machine: Machine) -> bool:
    """Whether systemd-oomd is told to avoid the owner; who starts a task waits for that 5 s at most."""
    group = f"/sys/fs/cgroup/{_SLICE}/owner.service"
    return "user.oomd_avoid" in machine.run(["python3", "-c", _ATTRIBUTES, group]).stdout.split()


def _killed(machine: Machine, name: str) -> bool:
    return machine.show(f"{name}.service", "Result") == "oom-kill"


@pytest.mark.parametrize("protected", [False, True])
def test_who_is_killed_first(machine: Machine, oomd: None, protected: bool) -> None:
    """The owner is in greater need of memory: without its task it would be first."""
    _read(machine, "other", 0.5)
    owner = _read(machine, "owner", 0)
    if protected:
        machine.tasks(
            "StartBackgroundRunning", "asa{sv}", "1", "voip", "1", "pid", "u", str(owner), user="alice"
        )
        machine.wait_for(lambda: _is_marked(machine))
    machine.run(["touch", _GO])
    machine.wait_for(lambda: _killed(machine, "owner") or _killed(machine, "other"), 40)
    assert (_killed(machine, "owner"), _killed(machine, "other")) == (not protected, protected)
    if protected:
        assert len(machine.locks()) == 1
