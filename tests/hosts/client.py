# SPDX-License-Identifier: Apache-2.0
"""Short ways to say what most host tests do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from hosts.machine import MANAGER, TASKS, Host
from hosts.spawned import Spawned


def sleeper(host: Host, user: str | None = "alice") -> Spawned:
    """A process that can own tasks.

    Its oom_score_adj can be lowered: hosts in containers may lack CAP_SYS_RESOURCE, without which nothing
    goes below what it began with.
    """
    process = host.spawn(["sleep", "600"], user=user)
    host.run(["sh", "-c", f"echo 500 >/proc/{process.pid}/oom_score_adj"])
    return process


def request(
    host: Host, owner: Spawned, *options: str, reason: str = "test", user: str | None = "alice"
) -> int:
    """RequestSuspendDelay for the owner with more `options` (key, type, value); the request's id."""
    pairs = ["pid", "u", str(owner.pid), *options]
    reply = host.tasks("RequestSuspendDelay", "sa{sv}", reason, str(len(pairs) // 3), *pairs, user=user)
    return int(reply[0])


def start(
    host: Host, owner: Spawned, *modes: str, options: tuple[str, ...] = (), user: str | None = "alice"
) -> int:
    """StartBackgroundRunning for the owner; the task's id."""
    pairs = ["pid", "u", str(owner.pid), *options]
    arguments = (str(len(modes)), *modes, str(len(pairs) // 3), *pairs)
    return int(host.tasks("StartBackgroundRunning", "asa{sv}", *arguments, user=user)[3])


def refused(host: Host, member: str, *arguments: str, user: str | None = "alice") -> str:
    """What a call is refused with, as busctl shows it."""
    call = host.busctl("call", *MANAGER, TASKS, member, *arguments, user=user, check=False)
    assert call.returncode != 0, f"{member} was not refused: {call.stdout}"
    return call.stderr


def main_pid(host: Host, unit: str) -> str:
    """The main process of a unit that runs; never 0, which kill(1) would take for all of us."""
    pid = host.show(unit, "MainPID")
    assert int(pid) > 1, f"{unit} does not run"
    return pid


@contextlib.contextmanager
def without(host: Host, name: str, unit: str) -> Iterator[None]:
    """A host on which this service of the bus can neither be found nor started; afterwards it runs."""
    file = f"/usr/share/dbus-1/system-services/{name}.service"
    reload = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig")
    host.run(["mv", file, "/root/"])
    host.busctl("call", *reload)
    host.systemctl("stop", unit)
    try:
        yield
    finally:
        host.run(["mv", f"/root/{name}.service", file])
        host.busctl("call", *reload)
        host.systemctl("start", unit)


def manager(host: Host, name: str) -> str:
    """A property of the Manager, as busctl shows it."""
    shown = host.busctl("get-property", *MANAGER, "org.missiond.Agent1.Manager", name, user="bob").stdout
    return shown.strip()


def configure(host: Host, text: str) -> None:
    """Put this into a drop-in and reload."""
    host.run(["mkdir", "-p", "/etc/missiond/missiond.conf.d"])
    host.run(["tee", "/etc/missiond/missiond.conf.d/50-test.conf"], stdin=text)
    host.systemctl("reload", "missiond.service")
