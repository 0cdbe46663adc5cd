# SPDX-License-Identifier: Apache-2.0
"""Neighbours, disks and the agent itself fail while people work: what was granted stays, and nothing else.

MISSIOND_KILLS says how often the agent is killed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts.client import main_pid, manager, refused, request, sleeper, start
from hosts.crowds import BIND, SERVICE, Beside, open_fds
from hosts.machine import Host

KILLS = int(os.environ.get("MISSIOND_KILLS", "50"))
NEIGHBOURS = ["systemd-logind.service", "polkit.service"]
USERS = ("alice", "bob")
BROKEN = {"EOFError", "ConnectionResetError", "ConnectionRefusedError", "BrokenPipeError", "NoReply"}
EXPECTED = {"", "PermissionDenied 201", "SystemServiceFailed 9800004", *BROKEN}
LONGEST = 28_000.0
"""Ms that any call may take: the 25 s of a polkit that hangs."""


@pytest.fixture(scope="module")
def faulty(host_tree: Path) -> Iterator[Host]:
    """A host to be hard on."""
    with Host(host_tree, options=BIND) as host:
        host.wait_active()
        yield host


class Held:
    """People at work, and two tasks of alice's that have to stay."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.owner = sleeper(host)
        self.number = request(host, self.owner)
        self.task = start(host, self.owner, "voip", "dataTransfer")
        self.names = sorted(lock.why for lock in host.locks())
        self._loads = [Beside(host, "load", user=user) for user in USERS]

    def reports(self) -> list[dict[str, Any]]:
        """What the people at work saw since the last."""
        return [load.report() for load in self._loads]

    def check(self) -> list[dict[str, Any]]:
        """Nothing was lost and nothing leaks: exactly these two are left, once nobody works any more."""
        reports = self.reports()
        for load in self._loads:
            load.close()
        self.host.wait_for(lambda: sorted(lock.why for lock in self.host.locks()) == self.names, 15)
        self.host.wait_for(lambda: self.host.show(SERVICE, "NFileDescriptorStore") == "2")
        self.host.wait_for(lambda: manager(self.host, "Degraded") == "as 0", 15)
        assert request(self.host, self.owner) > self.number
        for report in reports:
            assert report["twice"] == []
            assert set(report["outcomes"]) <= EXPECTED
            assert report["longest"] < LONGEST
        self.owner.signal("KILL")
        self.host.wait_for(lambda: self.host.locks() == [])
        self.host.wait_for(lambda: self.host.show(SERVICE, "NFileDescriptorStore") == "0")
        assert "Traceback" not in self.host.journal(SERVICE)
        return reports


def _kill(host: Host) -> None:
    main = main_pid(host, SERVICE)
    host.run(["kill", "-KILL", main])
    host.wait_for(lambda: host.show(SERVICE, "MainPID") not in ("0", main))
    host.wait_active()


def test_killed_at_any_moment(faulty: Host, capsys: pytest.CaptureFixture[str]) -> None:
    held = Held(faulty)
    (left,) = faulty.tasks("GetRemainingDelayTime", "u", str(held.number), user="alice")
    for _ in range(KILLS):
        faulty.run(["sleep", f"{random.uniform(0, 0.2):.3f}"])
        _kill(faulty)
    (later,) = faulty.tasks("GetRemainingDelayTime", "u", str(held.number), user="alice")
    assert 0 < later < left
    reports = held.check()
    with capsys.disabled():
        print(f"\n{KILLS} kills: {[report['outcomes'] for report in reports]}")


@pytest.mark.parametrize("unit", NEIGHBOURS)
@pytest.mark.parametrize("how", ["stop", "hang", "restart", "kill"])
def test_a_neighbour_fails(faulty: Host, unit: str, how: str) -> None:
    held = Held(faulty)
    if how == "hang":
        main = main_pid(faulty, unit)
        faulty.run(["kill", "-STOP", main])
        faulty.run(["sleep", "1"])
        faulty.run(["kill", "-CONT", main])
    elif how == "kill":
        faulty.systemctl("kill", "--signal=KILL", unit)
    else:
        faulty.systemctl(how, unit)
    held.reports()
    faulty.systemctl("start", unit)
    held.check()


def test_the_bus_hangs(faulty: Host) -> None:
    held = Held(faulty)
    main = main_pid(faulty, "dbus.service")
    faulty.run(["kill", "-STOP", main])
    faulty.run(["sleep", "2"])
    faulty.run(["kill", "-CONT", main])
    held.check()


@pytest.mark.parametrize("place", ["/var/lib/missiond", "/run/missiond"])
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_no_room_for_state(faulty: Host, place: str, how: str) -> None:
    """It is said, nothing is refused for it, and it ends by itself."""
    faulty.systemctl("stop", SERVICE)
    faulty.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=700,uid=missiond,gid=missiond", "tmpfs", place])
    try:
        faulty.systemctl("start", SERVICE)
        owner = sleeper(faulty)
        kept = start(faulty, owner, "voip")
        if how == "full":
            faulty.run(["sh", "-c", f"cat /dev/zero >{place}/filler; true"], check=False)
        else:
            faulty.run(["mount", "-o", "remount,ro", place])
        for _ in range(3):
            number = request(faulty, owner)
            faulty.tasks("CancelSuspendDelay", "u", str(number), user="alice")
        word = "state directory" if place.startswith("/var") else "runtime directory"
        assert word in manager(faulty, "Degraded")
        if how == "full":
            faulty.run(["rm", f"{place}/filler"])
        else:
            faulty.run(["mount", "-o", "remount,rw", place])
        number = request(faulty, owner)
        faulty.tasks("CancelSuspendDelay", "u", str(number), user="alice")
        faulty.wait_for(lambda: manager(faulty, "Degraded") == "as 0")
        faulty.systemctl("restart", SERVICE)
        assert [lock.why for lock in faulty.locks()] == [f"continuous task {kept}: voip"]
        owner.signal("KILL")
        faulty.wait_for(lambda: faulty.locks() == [])
        assert "Traceback" not in faulty.journal(SERVICE)
    finally:
        faulty.systemctl("stop", SERVICE)
        faulty.run(["umount", place])
        faulty.systemctl("start", SERVICE)


def test_out_of_file_descriptors(faulty: Host) -> None:
    """MemoryFailed for those who would need one; everybody else goes on, and later they do, too."""
    owner = sleeper(faulty)
    request(faulty, owner)
    main = main_pid(faulty, SERVICE)
    limits = faulty.run(["prlimit", f"--pid={main}", "--nofile", "--output=SOFT", "--noheadings"]).stdout
    other = sleeper(faulty)
    faulty.run(["prlimit", f"--pid={main}", f"--nofile={open_fds(faulty)}:"])
    try:
        said = refused(
            faulty, "StartBackgroundRunning", "asa{sv}", "1", "voip", "1", "pid", "u", str(other.pid)
        )
        assert "9800001: " in said
        assert len(faulty.locks()) == 1
        assert manager(faulty, "TransientTasks") == "u 1"
    finally:
        faulty.run(["prlimit", f"--pid={main}", f"--nofile={limits.strip()}:"])
    start(faulty, other, "voip")
    assert len(faulty.locks()) == 2
    for each in (owner, other):
        each.signal("KILL")
    faulty.wait_for(lambda: faulty.locks() == [])
    assert "Traceback" not in faulty.journal(SERVICE)
