# SPDX-License-Identifier: Apache-2.0
"""Alice at work on a host: her own manager, and a terminal in a login session."""

from __future__ import annotations

from typing import Any, NamedTuple

from hosts.machine import MANAGER, Host

MISSIONS = "org.missiond.Agent1.DistributedMissionManager"
_TERMINAL = """
import os, sys, threading
pid, fd = os.forkpty()
if pid == 0:
    os.execvp("bash", ["-bash", "--norc", "--noprofile", "-i"])
def show():
    while os.read(fd, 65536): pass
threading.Thread(target=show, daemon=True).start()
while True:
    with open(sys.argv[1], "rb") as keys:
        os.write(fd, keys.read())
"""


class Mission(NamedTuple):
    """A row of GetMissionInfos."""

    id: int
    label: str
    icon: str
    app_id: str
    pid: int
    uid: int
    state: str
    locked: bool
    continuable: bool
    tag: int
    started: int


def missions(host: Host, user: str | None = "alice") -> list[Mission]:
    """What the user sees."""
    (rows,) = host.call(*MANAGER, MISSIONS, "GetMissionInfos", "su", "", "100000", user=user)
    return [Mission(*row) for row in rows]


def typed(host: Host) -> list[Mission]:
    """Alice's, without the program that is her terminal."""
    return [mission for mission in missions(host) if not mission.app_id.startswith("python3")]


def mission_of(host: Host, app_id: str, user: str | None = "alice", patience: float = 5) -> Mission:
    """Wait until there is one of this application."""
    found: list[Mission] = []

    def there() -> bool:
        found[:] = [mission for mission in missions(host, user) if mission.app_id == app_id]
        return bool(found)

    try:
        host.wait_for(there, patience)
    except TimeoutError:
        raise AssertionError(f"no mission {app_id}: {missions(host, None)}") from None
    assert len(found) == 1, found
    return found[0]


def info(host: Host, mission: int, user: str | None = "alice") -> dict[str, Any]:
    """GetMissionInfo, without the types."""
    (values,) = host.call(*MANAGER, MISSIONS, "GetMissionInfo", "su", "", str(mission), user=user)
    return {key: value["data"] for key, value in values.items()}


def snapshot(host: Host, mission: int, user: str | None = "alice") -> dict[str, Any]:
    """GetMissionSnapshot, without the types."""
    (values,) = host.call(*MANAGER, MISSIONS, "GetMissionSnapshot", "su", "", str(mission), user=user)
    return {key: value["data"] for key, value in values.items()}


def refused(host: Host, member: str, *arguments: str, user: str | None = "alice") -> str:
    """What a call about missions is refused with."""
    call = host.busctl("call", *MANAGER, MISSIONS, member, *arguments, user=user, check=False)
    assert call.returncode != 0, f"{member} was not refused: {call.stdout}"
    return call.stderr


def nothing_left(host: Host) -> None:
    """End what a test left of alice's."""
    host.run(["pkill", "-KILL", "-u", "alice", "^(sleep|cat|tail|sh|bash|missionctl|python3)$"], check=False)
    host.wait_for(lambda: missions(host, None) == [])


def terminate(host: Host, mission: int, user: str | None = "alice") -> None:
    """TerminateMission."""
    host.call(*MANAGER, MISSIONS, "TerminateMission", "u", str(mission), user=user)


def gone(host: Host, mission: int) -> None:
    """Wait until it is over."""
    host.wait_for(lambda: mission not in [each.id for each in missions(host, None)], 5)


def alices_manager(host: Host) -> None:
    """Start the user's manager without a login; the file is what `loginctl enable-linger` would make."""
    host.run(["mkdir", "-p", "/var/lib/systemd/linger"])
    host.run(["touch", "/var/lib/systemd/linger/alice"])
    host.systemctl("start", "user@1000.service")


def as_unit(host: Host, unit: str, *command: str) -> None:
    """Start a program as a unit of the user's manager."""
    kind = ["--scope"] if unit.endswith(".scope") else []
    run = ["env", "XDG_RUNTIME_DIR=/run/user/1000", "systemd-run", "--user", "--quiet", "--collect", *kind]
    line = [*run, f"--unit={unit}", "--", *command]
    if kind:
        host.spawn(line, user="alice")
    else:
        host.run(line, user="alice")


def stop_unit(host: Host, unit: str) -> None:
    """Stop it again."""
    host.run(["env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user", "stop", unit], user="alice")


class Terminal:
    """A login shell of alice's on a terminal of its own, in a session of logind's."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._unit = f"terminal-{name}.service"
        self._keys = f"/tmp/keys-{name}"
        host.run(["mkfifo", "-m", "666", self._keys])
        host.run(["tee", f"/tmp/terminal-{name}.py"], stdin=_TERMINAL)
        command = ["python3", f"/tmp/terminal-{name}.py", self._keys]
        host.systemd_run(self._unit, command, user="alice", session=True)

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        self._host.run(["tee", self._keys], stdin=text)

    def close(self) -> None:
        """End it and what runs in it."""
        self._host.systemctl("stop", self._unit)
        self._host.run(["pkill", "-KILL", "-u", "alice", "-t", "pts/0"], check=False)
