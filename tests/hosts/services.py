# SPDX-License-Identifier: Apache-2.0
"""Services with tasks of keep-alive restart, of the system's manager and alice's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hosts.machine import Host
    from hosts.signals import Signals

KINDS = pytest.mark.parametrize("of_user", [False, True], ids=["system", "user"])
PATH = "/org/missiond/Agent1/continuous"
TASK = "org.missiond.Agent1.ContinuousTask"
AS_ALICE = ["env", "XDG_RUNTIME_DIR=/run/user/1000"]
DROP_INS = ["find", "/run/systemd/system", "/run/user/1000/systemd/user", "-name", "50-missiond.conf"]


@dataclass
class Service:
    """A service of the system's manager or of alice's; its processes are always hers."""

    host: Host
    name: str
    of_user: bool = False

    def systemctl(self, *arguments: str) -> str:
        """Of its manager."""
        if not self.of_user:
            return self.host.systemctl(*arguments)
        command = [*AS_ALICE, "systemctl", "--user", *arguments]
        return self.host.run(command, user="alice").stdout.strip()

    def show(self, name: str) -> str:
        """Return one property."""
        return self.systemctl("show", f"--property={name}", "--value", self.name)

    @property
    def pid(self) -> int:
        """Of the main process, which must be there."""
        pid = int(self.show("MainPID"))
        assert pid > 1
        return pid

    def run(self, *command: str, options: tuple[str, ...] = ()) -> None:
        """Start it as a transient one, with what systemd-run makes of it: Restart=no."""
        tool = ["systemd-run", "--quiet", f"--unit={self.name}", *options]
        if self.of_user:
            self.host.run([*AS_ALICE, *tool, "--user", "--", *command], user="alice")
        else:
            self.host.run([*tool, "--uid=alice", "--", *command])

    def kill(self) -> int:
        """SIGKILL to the main process, and wait for the next one."""
        before = self.pid
        self.host.run(["kill", "-KILL", str(before)])
        return self.next_after(before)

    def next_after(self, before: int) -> int:
        """Wait for another main process."""
        self.host.wait_for(lambda: int(self.show("MainPID")) not in (0, before))
        return self.pid

    def task(self, *options: str) -> int:
        """Start a task with keep-alive restart for its main process, as alice."""
        pairs = ("pid", "u", str(self.pid), "keep-alive", "s", "restart", *options)
        arguments = ("1", "dataTransfer", str(len(pairs) // 3), *pairs)
        reply = self.host.tasks("StartBackgroundRunning", "asa{sv}", *arguments, user="alice")
        return int(reply[3])


def told(host: Host, task: int, name: str) -> object:
    """A property of the task's object."""
    shown = host.busctl("--json=short", "get-property", "org.missiond.Agent1", f"{PATH}/{task}", TASK, name)
    return json.loads(shown.stdout)["data"]


def gone_on(host: Host, task: int, pid: int, restarts: int) -> None:
    """Wait until the task is that of the new process, on the bus and in logind's list."""
    host.wait_for(lambda: told(host, task, "Pid") == pid)
    assert told(host, task, "Restarts") == restarts
    host.wait_for(lambda: [lock for lock in host.locks() if f"(pid {pid}," in lock.who] != [])
    host.wait_for(lambda: len(host.locks()) == 1)
    assert told(host, task, "Locked") is True


def crash(service: Service, task: int, signals: Signals) -> None:
    """Have it fail for good, as while /tmp/crash is there, and wait for the end of its task and why."""
    service.host.run(["touch", "/tmp/crash"])
    service.host.run(["kill", "-KILL", str(service.pid)])
    message = str(signals.wait("ContinuousTaskFailed").body[1])
    assert "ended too often, and systemd gave it up" in message
    signals.wait("ContinuousTaskCancel", task, 2)
    over(service.host)


def over(host: Host) -> None:
    """Wait until there are neither tasks nor anything that was done for them."""
    host.wait_for(lambda: host.tasks("GetAllContinuousTasks", "b", "true") == [[]])
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: drop_ins(host) == [])
    host.wait_for(lambda: host.run(["find", "/run/missiond/restart", "-type", "f"], check=False).stdout == "")


def drop_ins(host: Host) -> list[str]:
    """Those of the agent."""
    return host.run(DROP_INS, check=False).stdout.split()


def unit_file(host: Host, service: Service, text: str) -> None:
    """Install and start it."""
    directory = "/home/alice/.config/systemd/user" if service.of_user else "/etc/systemd/system"
    host.run(["mkdir", "-p", directory])
    user = "" if service.of_user else "User=alice\n"
    host.run(["tee", f"{directory}/{service.name}"], stdin=f"[Service]\n{user}{text}")
    service.systemctl("daemon-reload")
    service.systemctl("start", service.name)
