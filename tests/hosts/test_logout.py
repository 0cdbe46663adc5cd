# SPDX-License-Identifier: Apache-2.0
"""Owners of continuous tasks outlive the end of their user's login, and nothing longer than its task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import configure, manager
from hosts.people import Terminal, missions

if TYPE_CHECKING:
    from hosts.machine import Host

KEEPER = "missiond-keep@1000.service"
GROUP = f"user.slice/user-1000.slice/{KEEPER}"
SERVICE = "missiond.service"
LOGIND = "[Login]\nKillUserProcesses={}\nUserStopDelaySec=0\n"


def _logind(host: Host, kills: str) -> None:
    file = "/etc/systemd/logind.conf.d/kill.conf"
    if host.run(["cat", file], check=False).stdout != LOGIND.format(kills):
        host.run(["mkdir", "-p", "/etc/systemd/logind.conf.d"])
        host.run(["tee", file], stdin=LOGIND.format(kills))
        host.systemctl("restart", "systemd-logind.service")


@pytest.fixture(autouse=True)
def strict(host: Host) -> Iterator[None]:
    """A host that kills what is left of a session, and has nothing left of a test."""
    _logind(host, "yes")
    yield
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: host.run(["find", "/run/missiond/protection", "-type", "f"]).stdout == "")
    host.wait_for(lambda: host.show(KEEPER, "ActiveState") == "inactive")
    host.wait_for(lambda: not _sessions(host))
    host.wait_for(lambda: host.show("user@1000.service", "ActiveState") == "inactive")
    assert manager(host, "Degraded") == "as 0"


def _sessions(host: Host) -> list[str]:
    lines = host.run(["loginctl", "list-sessions", "--no-legend"]).stdout.splitlines()
    return [line for line in lines if "alice" in line and "manager" not in line]


def _job(host: Host, terminal: Terminal, seconds: int, *, deaf: bool = False) -> int:
    """Start sleep(1), deaf to the hangup of its terminal; `deaf` to SIGTERM as well."""
    command = "nohup env --ignore-signal=TERM sleep" if deaf else "nohup sleep"
    terminal.type(f"{command} {seconds} >/dev/null 2>&1 &\n")
    host.wait_for(lambda: _pid(host, seconds) is not None)
    pid = _pid(host, seconds)
    assert pid is not None
    return pid


def _pid(host: Host, seconds: int) -> int | None:
    found = host.run(["pgrep", "-xf", f"sleep {seconds}"], check=False).stdout.split()
    return int(found[0]) if found else None


def _task(host: Host, pid: int, context: str = "") -> str:
    pairs = ("1", "voip", "2", "pid", "u", str(pid), "context", "s", context)
    return str(host.tasks("StartBackgroundRunning", "asa{sv}", *pairs, user="alice")[3])


def _cancel(host: Host, task: str) -> None:
    host.tasks("CancelContinuousTask", "u", task, user="alice")


def _cgroup(host: Host, pid: int) -> str:
    lines = host.run(["cat", f"/proc/{pid}/cgroup"], check=False).stdout.splitlines()
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")


def _kept(host: Host, pid: int) -> None:
    try:
        host.wait_for(lambda: _cgroup(host, pid).startswith(f"{GROUP}/"))
    except TimeoutError:
        raise AssertionError(f"{_cgroup(host, pid)}\n{host.journal()[-6000:]}") from None


def _mission(host: Host, pid: int) -> int:
    found: list[int] = []

    def there() -> bool:
        found[:] = [each.id for each in missions(host) if each.pid == pid]
        return bool(found)

    host.wait_for(there)
    assert len(found) == 1
    return found[0]


def _log_out(host: Host, name: str) -> None:
    host.systemctl("stop", f"terminal-{name}.service")


@pytest.mark.parametrize("killed", [False, True])
def test_it_outlives_the_login_and_ends_with_the_task(host: Host, killed: bool) -> None:
    name = f"a{killed:d}"
    terminal = Terminal(host, name)
    pid, other = _job(host, terminal, 6001), _job(host, terminal, 6002)
    before = _mission(host, pid)
    task = _task(host, pid)
    _kept(host, pid)
    assert _mission(host, pid) == before
    assert "session-" in _cgroup(host, other)
    _log_out(host, name)
    host.wait_for(lambda: _pid(host, 6002) is None)
    if killed:
        host.systemctl("kill", "--signal=KILL", SERVICE)
        host.wait_for(lambda: host.show(SERVICE, "NRestarts") != "0")
        host.wait_active()
    host.run(["sleep", "2"])
    assert _pid(host, 6001) == pid
    assert len(host.locks()) == 1
    assert _mission(host, pid) == before
    host.run(["test", "-d", "/run/user/1000"])
    _cancel(host, task)
    host.wait_for(lambda: _pid(host, 6001) is None)


def test_back_into_the_session(host: Host) -> None:
    terminal = Terminal(host, "b")
    pid = _job(host, terminal, 6003)
    home, before = _cgroup(host, pid), _mission(host, pid)
    task = _task(host, pid)
    _kept(host, pid)
    _cancel(host, task)
    host.wait_for(lambda: _cgroup(host, pid) == home)
    host.wait_for(lambda: host.show(KEEPER, "ActiveState") == "inactive")
    assert _pid(host, 6003) == pid
    assert _mission(host, pid) == before
    _log_out(host, "b")
    host.wait_for(lambda: _pid(host, 6003) is None)


def test_children_and_what_outlives_the_owner(host: Host) -> None:
    terminal = Terminal(host, "c")
    terminal.type("nohup sh -c 'sleep 6004 & sleep 6005; sleep 6006; :' >/dev/null 2>&1 &\n")
    host.wait_for(lambda: _pid(host, 6005) is not None)
    owner = int(host.run(["ps", "-o", "ppid=", str(_pid(host, 6005))]).stdout)
    _task(host, owner)
    for seconds in (6004, 6005):
        child = _pid(host, seconds)
        assert child is not None
        _kept(host, child)
    host.run(["pkill", "-xf", "sleep 6005"])
    host.wait_for(lambda: _pid(host, 6006) is not None)
    born = _pid(host, 6006)
    assert born is not None
    _kept(host, born)
    _log_out(host, "c")
    host.run(["sleep", "1"])
    host.run(["kill", "-KILL", str(owner)])
    for seconds in (6004, 6006):
        host.wait_for(lambda seconds=seconds: _pid(host, seconds) is None)  # type: ignore[misc]


def test_one_of_two_ends(host: Host) -> None:
    terminal = Terminal(host, "d")
    one, two = _job(host, terminal, 6007), _job(host, terminal, 6008)
    first, second = _task(host, one, "one"), _task(host, two, "two")
    _kept(host, one)
    _kept(host, two)
    _log_out(host, "d")
    host.wait_for(lambda: "session" not in host.run(["loginctl", "show-user", "alice"], check=False).stderr)
    host.run(["sleep", "1"])
    _cancel(host, first)
    host.wait_for(lambda: _pid(host, 6007) is None)
    host.run(["sleep", "1"])
    assert _pid(host, 6008) == two
    files = host.run(["find", "/run/missiond/protection", "-type", "f"]).stdout.split()
    assert len(files) == 1, files
    _cancel(host, second)
    host.wait_for(lambda: _pid(host, 6008) is None)


def test_a_unit_of_the_users_manager_goes_on(host: Host) -> None:
    _logind(host, "no")
    terminal = Terminal(host, "e")
    environment = ["env", "XDG_RUNTIME_DIR=/run/user/1000"]
    host.wait_for(lambda: host.show("user@1000.service", "ActiveState") == "active")
    run = ["systemd-run", "--user", "--quiet", "--collect", "--unit=work.service", "env", "sleep", "6009"]
    host.wait_for(lambda: host.run([*environment, *run], user="alice", check=False).returncode == 0)
    host.wait_for(lambda: _pid(host, 6009) is not None)
    pid = _pid(host, 6009)
    assert pid is not None
    where, before = _cgroup(host, pid), _mission(host, pid)
    task = _task(host, pid)
    host.wait_for(lambda: host.show(KEEPER, "ActiveState") == "active")
    assert terminal is not None
    _log_out(host, "e")
    host.run(["sleep", "2"])
    assert (_pid(host, 6009), _cgroup(host, pid)) == (pid, where)
    assert _mission(host, pid) == before
    _cancel(host, task)
    host.wait_for(lambda: _pid(host, 6009) is None)


def test_a_service_is_started_again_after_the_logout(host: Host) -> None:
    """Its login is held for as long as the task lives, also while no process is there."""
    _logind(host, "no")
    Terminal(host, "r")
    environment = ["env", "XDG_RUNTIME_DIR=/run/user/1000"]
    host.wait_for(lambda: host.show("user@1000.service", "ActiveState") == "active")
    run = ["missionctl", "run", "--keep-alive=restart", "--name", "sync", "--", "sleep", "6010"]
    host.wait_for(lambda: host.run([*environment, *run], user="alice", check=False).returncode == 0)
    host.wait_for(lambda: host.show(KEEPER, "ActiveState") == "active")
    host.wait_for(lambda: _service(host))
    first = _service(host)
    _log_out(host, "r")
    host.run(["kill", "-KILL", first])
    host.wait_for(lambda: _service(host) not in ("", first))
    assert host.show(KEEPER, "ActiveState") == "active"
    host.wait_for(lambda: len(host.locks()) == 1)
    tasks = host.run(["missionctl", "tasks", "--json"], user="alice").stdout
    host.run(["missionctl", "cancel", str(json.loads(tasks)[0]["task"])], user="alice")


def _service(host: Host) -> str:
    return str(host.run(["pgrep", "-xf", "/usr/bin/sleep 6010"], check=False).stdout.strip())


def test_one_that_ignores_sigterm_is_killed(host: Host) -> None:
    """With less than systemd's 90 s; nobody else waits for it, and a new login is held as ever."""
    drop_in = "/run/systemd/system/missiond-keep@1000.service.d"
    host.run(["mkdir", "-p", drop_in])
    host.run(["tee", f"{drop_in}/short.conf"], stdin="[Service]\nTimeoutStopSec=4s\n")
    host.systemctl("daemon-reload")
    try:
        terminal = Terminal(host, "g")
        pid = _job(host, terminal, 6011, deaf=True)
        _job(host, terminal, 6013)
        task = _task(host, pid)
        _kept(host, pid)
        _log_out(host, "g")
        host.wait_for(lambda: _pid(host, 6013) is None)
        assert _pid(host, 6011) == pid
        _cancel(host, task)
        host.wait_for(lambda: host.show(KEEPER, "SubState") == "final-sigterm")
        assert _pid(host, 6011) == pid
        again = Terminal(host, "h")
        other = _job(host, again, 6012)
        task = _task(host, other)
        _kept(host, other)
        assert _pid(host, 6011) is None
        assert f"{KEEPER}: State 'final-sigterm' timed out. Killing." in host.journal(KEEPER)
        assert host.systemctl("list-units", "--failed", "--plain", "--no-legend") == ""
        _log_out(host, "h")
        host.run(["sleep", "1"])
        assert _pid(host, 6012) == other
        _cancel(host, task)
        host.wait_for(lambda: _pid(host, 6012) is None)
    finally:
        host.run(["rm", "-r", drop_in])
        host.systemctl("daemon-reload")


def test_where_it_is_not_wanted(host: Host) -> None:
    configure(host, "[KeepAlive]\nAfterLogout=no\n")
    try:
        terminal = Terminal(host, "f")
        pid = _job(host, terminal, 6010)
        _task(host, pid)
        host.run(["sleep", "0.5"])
        assert "session-" in _cgroup(host, pid)
        _log_out(host, "f")
        host.wait_for(lambda: _pid(host, 6010) is None)
    finally:
        configure(host, "")


@pytest.mark.parametrize("limit", ["RuntimeMaxSec=10min", "TasksMax=30"])
def test_a_session_with_limits_keeps_them(host: Host, limit: str) -> None:
    """Who starts a task does not get out of what an administrator, or PAM, has set for sessions."""
    drop_in = "/etc/systemd/system/session-.scope.d/limits.conf"
    host.run(["mkdir", "-p", drop_in.rpartition("/")[0]])
    host.run(["tee", drop_in], stdin=f"[Scope]\n{limit}\n")
    host.systemctl("daemon-reload")
    try:
        name = limit.partition("=")[0]
        terminal = Terminal(host, name)
        pid = _job(host, terminal, 6011)
        home = _cgroup(host, pid)
        task = _task(host, pid)
        # the answer to the next task comes after the agent has dealt with the first one
        other = _task(host, pid, "second")
        assert _cgroup(host, pid) == home
        _log_out(host, name)
        host.wait_for(lambda: _pid(host, 6011) is None)
        assert task != other
    finally:
        host.run(["rm", drop_in])
        host.systemctl("daemon-reload")


def test_what_is_in_a_cgroup_below_a_session_stays_there(host: Host) -> None:
    """An administrator who puts a process into a cgroup with limits there (LXC does) has it stay."""
    terminal = Terminal(host, "box")
    pid = _job(host, terminal, 6012)
    box = f"{_cgroup(host, pid)}/box"
    host.run(["mkdir", f"/sys/fs/cgroup/{box}"])
    host.run(["tee", f"/sys/fs/cgroup/{box}/cgroup.procs"], stdin=str(pid))
    _task(host, pid)
    _task(host, pid, "second")
    assert _cgroup(host, pid) == box
    _log_out(host, "box")
    host.wait_for(lambda: _pid(host, 6012) is None)


def test_the_agent_may_not_manage_other_units(host: Host) -> None:
    systemd = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
    for unit in ("missiond-keep@0.service", "missiond-session@1000.service", "console-getty.service"):
        refused = host.busctl(
            "call", *systemd, "StopUnit", "ss", unit, "replace", user="missiond", check=False
        )
        assert refused.returncode != 0, unit
