# SPDX-License-Identifier: Apache-2.0
"""What systemd-oomd is told of owners: hosts in containers have no memory controller to run it with.

So a program has its name on the bus, and the attributes that it would read are looked at. Whom the real one
kills is seen in the virtual machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import start
from hosts.people import alices_manager, as_unit, stop_unit

if TYPE_CHECKING:
    from hosts.machine import Host
    from hosts.spawned import Spawned

SERVICE = "missiond.service"
POLICY = '<busconfig><policy user="root"><allow own="org.freedesktop.oom1"/></policy></busconfig>'
RELOAD = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
OOMD = """
import asyncio
from dbus_next import BusType
from dbus_next.aio import MessageBus
async def main():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    await bus.request_name("org.freedesktop.oom1")
    print("there", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
ATTRIBUTES = "import os, sys; print(*sorted(os.listxattr(sys.argv[1])))"
SET = "import os, sys; os.setxattr(sys.argv[1], 'user.oomd_avoid', b'1')"
Oomd = Callable[[], "Spawned"]


@pytest.fixture
def oomd(host: Host) -> Iterator[Oomd]:
    host.run(["tee", "/etc/dbus-1/system.d/oom1.conf"], stdin=POLICY)
    host.busctl("call", *RELOAD)

    def run() -> Spawned:
        program = host.spawn(["python3", "-c", OOMD])
        assert program.stdout.readline() == "there\n"
        return program

    yield run
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: host.run(["find", "/run/missiond/protection", "-type", "f"]).stdout == "")


@pytest.fixture
def work(host: Host) -> Iterator[tuple[int, str]]:
    """A system unit of alice's: its process and cgroup."""
    pid = host.systemd_run("work.service", ["sleep", "600"], user="alice")
    yield pid, f"/sys/fs/cgroup{host.show('work.service', 'ControlGroup')}"
    host.systemctl("stop", "work.service")


def _task(host: Host, pid: int) -> int:
    pairs = ("1", "voip", "1", "pid", "u", str(pid))
    return int(host.tasks("StartBackgroundRunning", "asa{sv}", *pairs, user="alice")[3])


def _is_marked(host: Host, directory: str) -> bool:
    return "user.oomd_avoid" in host.run(["python3", "-c", ATTRIBUTES, directory]).stdout.split()


def test_marked_while_the_task_lives_and_it_is_there(host: Host, oomd: Oomd, work: tuple[int, str]) -> None:
    pid, directory = work
    task = _task(host, pid)
    host.run(["sleep", "0.5"])
    assert not _is_marked(host, directory)
    for _ in range(2):
        program = oomd()
        host.wait_for(lambda: _is_marked(host, directory))
        program.signal("KILL")
        host.wait_for(lambda: not _is_marked(host, directory))
    program = oomd()
    host.wait_for(lambda: _is_marked(host, directory))
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: not _is_marked(host, directory))
    program.signal("KILL")


def test_it_stays_when_systemd_reads_its_units_again(host: Host, oomd: Oomd, work: tuple[int, str]) -> None:
    pid, directory = work
    program = oomd()
    task = _task(host, pid)
    host.wait_for(lambda: _is_marked(host, directory))
    for _ in range(2):
        host.systemctl("daemon-reload")
        host.wait_for(lambda: _is_marked(host, directory))
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: not _is_marked(host, directory))
    program.signal("KILL")


def test_one_that_was_there_before_stays(host: Host, oomd: Oomd, work: tuple[int, str]) -> None:
    pid, directory = work
    host.run(["python3", "-c", SET, directory])
    program = oomd()
    task = _task(host, pid)
    host.run(["sleep", "0.5"])
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: host.locks() == [])
    host.run(["sleep", "0.5"])
    assert _is_marked(host, directory)
    program.signal("KILL")


def test_taken_off_after_the_agent_was_killed(host: Host, oomd: Oomd, work: tuple[int, str]) -> None:
    pid, directory = work
    program = oomd()
    task = _task(host, pid)
    host.wait_for(lambda: _is_marked(host, directory))
    restarts = host.show(SERVICE, "NRestarts")
    host.systemctl("kill", "--signal=KILL", SERVICE)
    host.wait_for(lambda: host.show(SERVICE, "NRestarts") != restarts)
    host.wait_active()
    assert _is_marked(host, directory)
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: not _is_marked(host, directory))
    program.signal("KILL")


def test_a_unit_of_the_users_manager(host: Host, oomd: Oomd) -> None:
    alices_manager(host)
    as_unit(host, "app-demo-1.scope", "sleep", "6600")
    group = "user.slice/user-1000.slice/user@1000.service/app.slice/app-demo-1.scope"
    directory = f"/sys/fs/cgroup/{group}"
    procs = ["cat", f"{directory}/cgroup.procs"]
    host.wait_for(lambda: host.run(procs, check=False).stdout != "")
    pid = int(host.run(procs).stdout.split()[0])
    program = oomd()
    task = _task(host, pid)
    host.wait_for(lambda: _is_marked(host, directory))
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: not _is_marked(host, directory))
    program.signal("KILL")
    stop_unit(host, "app-demo-1.scope")


def test_a_process_without_a_unit(host: Host, oomd: Oomd) -> None:
    program = oomd()
    owner = host.spawn(["sleep", "600"], user="alice")
    start(host, owner, "voip")
    host.run(["sleep", "0.5"])
    assert "refused avoid" not in host.journal()
    owner.signal("KILL")
    program.signal("KILL")
