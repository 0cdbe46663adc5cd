# SPDX-License-Identifier: Apache-2.0
"""Options of continuous tasks on a real host, and who can see what of tasks and missions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hosts.client import manager, refused, sleeper, start
from hosts.machine import MANAGER, TASKS
from hosts.people import alices_manager, as_unit, mission_of, nothing_left, stop_unit
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host
    from hosts.spawned import Spawned

OBJECTS = (*MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
TASK = "org.missiond.Agent1.ContinuousTask"
SECRET = "Dr. No"


@pytest.fixture(autouse=True)
def nothing_held(host: Host) -> Iterator[None]:
    """Every test ends what it began."""
    yield
    nothing_left(host)
    host.wait_for(lambda: host.locks() == [])
    assert manager(host, "Degraded") == "as 0"


def _shown(host: Host, task: int, user: str | None = "alice") -> dict[str, Any]:
    path = f"{MANAGER[1]}/continuous/{task}"
    call = (MANAGER[0], path, "org.freedesktop.DBus.Properties", "GetAll", "s", TASK)
    return {name: value["data"] for name, value in host.call(*call, user=user)[0].items()}


def _listed(host: Host, user: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        host.run(["missionctl", "tasks", "--json", "--all"], user=user).stdout
    )
    return found


def _refused(host: Host, owner: Spawned, *option: str, user: str | None = "alice") -> str:
    """What a start with one more option than the owner is refused with."""
    arguments = ("1", "voip", "2", "pid", "u", str(owner.pid), *option)
    return refused(host, "StartBackgroundRunning", "asa{sv}", *arguments, user=user)


def _begin(host: Host, owner: Spawned, *option: str) -> int:
    """Start a transfer with one more option than the owner; the task's id."""
    arguments = ("1", "dataTransfer", "2", "pid", "u", str(owner.pid), *option)
    return int(host.tasks("StartBackgroundRunning", "asa{sv}", *arguments, user="alice")[3])


def test_a_task_ends_by_itself_also_after_a_restart(host: Host) -> None:
    signals = Signals(host)
    owner = sleeper(host)
    begun = time.monotonic()
    task = start(host, owner, "voip", options=("time-out", "u", "9000"))
    before = _shown(host, task)
    assert before["Deadline"] - before["Started"] == 9_000_000
    assert abs(before["Started"] / 1e6 - time.time()) < 60
    host.systemctl("restart", "missiond.service")
    assert _shown(host, task)["Deadline"] == before["Deadline"]
    assert signals.wait("ContinuousTaskCancel").body == [task, 2]
    assert time.monotonic() - begun >= 8.9
    host.wait_for(lambda: host.locks() == [])
    for wrong in ("999", "604800001"):
        assert "401: time-out is from 1000 to 604800000 ms" in _refused(host, owner, "time-out", "u", wrong)
    owner.signal("KILL")


@contextmanager
def _shutdown_allowed(host: Host) -> Iterator[None]:
    rules = "/etc/polkit-1/rules.d/45-missiond-shutdown.rules"
    host.run(["cp", "/usr/share/doc/missiond/examples/45-missiond-shutdown.rules", rules])
    try:
        yield
    finally:
        host.run(["rm", rules])


def _sitting_there(host: Host, *call: str) -> list[Any]:
    """Answer of a method of TASKS to alice in an active session at the seat."""
    session = ("--uid=alice", "--property=PAMName=login", "--property=Environment=XDG_SEAT=seat0")
    run = ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *session)
    said = host.run([*run, "busctl", "--system", "--json=short", "call", *MANAGER, TASKS, *call]).stdout
    answer: list[Any] = json.loads(said)["data"]
    return answer


def test_the_lid_is_for_whoever_sits_there(host: Host) -> None:
    """As logind has it for systemd-inhibit(1)."""
    owner = sleeper(host)
    lid = ("inhibit", "as", "3", "handle-lid-switch", "idle", "idle")
    denied = "201: polkit denies org.missiond.Agent1.inhibit-handle-lid-switch to this caller"
    assert denied in _refused(host, owner, *lid)
    call = ("StartBackgroundRunning", "asa{sv}", "1", "voip", "1", *lid)
    assert denied in host.busctl("call", *MANAGER, TASKS, *call, user="bob", check=False).stderr
    assert host.locks() == []
    pairs = ("1", "voip", "2", "pid", "u", str(owner.pid), *lid)
    task = _sitting_there(host, "StartBackgroundRunning", "asa{sv}", *pairs)[3]
    (lock,) = host.locks()
    assert set(lock.what.split(":")) == {"sleep", "idle", "handle-lid-switch"}
    assert _shown(host, task, "bob")["Inhibit"] == ["idle", "handle-lid-switch"]
    host.tasks("StopBackgroundRunning", "a{sv}", "1", "pid", "u", str(owner.pid), user="alice")
    host.tasks("StartBackgroundRunning", "asa{sv}", *pairs)
    owner.signal("KILL")


def test_more_is_locked_where_polkit_lets_us(host: Host) -> None:
    owner = sleeper(host)
    task = _begin(host, owner, "inhibit", "as", "2", "idle", "idle")
    (lock,) = host.locks()
    assert set(lock.what.split(":")) == {"sleep", "idle"}
    assert _shown(host, task, "bob")["Inhibit"] == ["idle"]
    other = ("inhibit", "as", "1", "shutdown")
    assert "201: polkit does not let the agent lock shutdown" in _refused(host, owner, *other)
    assert "401: inhibit has an unknown 'sleep'" in _refused(host, owner, "inhibit", "as", "1", "sleep")
    with _shutdown_allowed(host):
        host.wait_for(lambda: _starts(host, owner, *other, "context", "s", "b"))
        locked = [set(lock.what.split(":")) for lock in host.locks()]
        assert {"sleep", "shutdown"} in locked
    owner.signal("KILL")


def _starts(host: Host, owner: Spawned, *options: str) -> bool:
    """Whether it does; polkit takes a moment to read its rules."""
    call = ("StartBackgroundRunning", "asa{sv}", "1", "location", "3", "pid", "u", str(owner.pid), *options)
    return not host.busctl("call", *MANAGER, TASKS, *call, user="alice", check=False).returncode


def test_a_rule_of_polkits_tells_locks_apart(host: Host) -> None:
    rule = """polkit.addRule(function(action, subject) {
        if (action.id == "org.missiond.Agent1.keep-background-running" && action.lookup("inhibit") == "idle")
            return polkit.Result.NO;
    });"""
    owner = sleeper(host)
    options = ("inhibit", "as", "1", "idle", "context", "s", "c")
    host.run(["tee", "/etc/polkit-1/rules.d/10-test.rules"], stdin=rule)
    try:
        host.wait_for(lambda: not _starts_and_stops(host, owner, *options))
        assert "201: polkit denies" in _refused(host, owner, *options[:4])
        start(host, owner, "dataTransfer")
    finally:
        host.run(["rm", "/etc/polkit-1/rules.d/10-test.rules"])
    owner.signal("KILL")


def _starts_and_stops(host: Host, owner: Spawned, *options: str) -> bool:
    if not _starts(host, owner, *options):
        return False
    pairs = ("2", "pid", "u", str(owner.pid), *options[-3:])
    host.tasks("StopBackgroundRunning", "a{sv}", *pairs, user="alice")
    return True


def test_wants_are_checked_and_the_own_users(host: Host) -> None:
    owner = sleeper(host)
    uri = ("want-agent", "a{sv}", "1", "uri", "s")
    assert "want-agent opens uris of http, https, mailto only, not file" in _refused(
        host, owner, *uri, "file:///etc/passwd"
    )
    assert "201: " in _refused(host, owner, *uri, "https://example.org", user=None)
    assert "401: " in _refused(host, owner, "want-agent", "a{sv}", "0")
    _begin(host, owner, *uri, "https://example.org")
    host.systemctl("restart", "missiond.service")
    assert len(host.locks()) == 1
    owner.signal("KILL")


def test_texts_are_their_users_own(host: Host) -> None:
    signals = Signals(host)
    owner = sleeper(host)
    task = start(host, owner, "dataTransfer", options=("title", "s", SECRET, "text", "s", "at ten"))
    progress = ("file-name", "s", "secret.pdf", "value", "u", "40")
    host.tasks("UpdateDataTransferProgress", "ua{sv}", str(task), "2", *progress, user="alice")
    added = signals.wait("InterfacesAdded")
    assert SECRET not in str(added.body)
    changed = signals.wait("PropertiesChanged")
    while "Progress" not in changed.body[1]:
        assert SECRET not in str(changed.body)
        changed = signals.wait("PropertiesChanged")
    assert "secret.pdf" not in str(changed.body)
    for user in ("alice", None):
        shown = _shown(host, task, user)
        assert (shown["Title"], shown["Text"]) == (SECRET, "at ten")
        assert shown["Progress"]["file-name"]["data"] == "secret.pdf"
        ((told,),) = host.tasks("GetAllContinuousTasks", "b", "true", user=user)
        assert (told["title"]["data"], told["text"]["data"]) == (SECRET, "at ten")
    for text in (
        str(_shown(host, task, "bob")),
        str(host.call(*OBJECTS, user="bob")),
        str(host.inhibitors()),
        host.run(["missionctl", "tasks", "--all"], user="bob").stdout,
        str(_listed(host, "bob")),
    ):
        assert SECRET not in text
        assert "secret.pdf" not in text
    assert SECRET in host.run(["missionctl", "tasks"], user="alice").stdout
    said = host.run(["missionctl", "tasks"], user="bob").stdout
    assert said == "No tasks of yours; 1 of others: --all\n"
    owner.signal("KILL")


def test_counts_are_told(host: Host) -> None:
    signals = Signals(host)
    owner = sleeper(host)
    start(host, owner, "voip")
    told: dict[str, int] = {}
    while told.get("ContinuousTasks") != 1 or told.get("LocksHeld") != 1:
        changed = signals.wait("PropertiesChanged").body
        if changed[0] == "org.missiond.Agent1.Manager":
            told |= {name: value["data"] for name, value in changed[1].items()}
    owner.signal("KILL")


def test_what_keep_alive_can_not_do_is_seen(host: Host) -> None:
    """In a container not even root lowers oom_score_adj below what a process began with."""
    owner = host.spawn(["sleep", "600"], user="alice")
    task = start(host, owner, "voip")
    if _shown(host, task)["Missing"] == []:
        pytest.skip("this host lowers it")
    other = start(host, owner, "voip", options=("context", "s", "b"))
    assert [_shown(host, each)["Missing"] for each in (task, other)] == [["oom"], ["oom"]]
    listed = host.run(["missionctl", "tasks"], user="alice").stdout
    assert listed.count("[missing: oom]") == 2
    assert [each["missing"] for each in _listed(host, "bob")] == [["oom"], ["oom"]]
    degraded = manager(host, "Degraded")
    assert degraded.startswith("as 1 ")
    assert "oom_score_adj stays as it is (EACCES)" in degraded
    host.systemctl("reload", "missiond.service")
    assert host.journal(None).count("oom_score_adj stays as it is") == 1, "not for each task"
    assert "refused adjust" not in host.journal(None)
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])
    assert manager(host, "Degraded") == "as 0"


@contextmanager
def _hidden(host: Host) -> Iterator[None]:
    host.run(["mount", "-o", "remount,hidepid=2", "/proc"])
    try:
        yield
    finally:
        host.run(["mount", "-o", "remount,hidepid=0", "/proc"])


def _missions_seen(host: Host, user: str | None) -> set[str]:
    (found,) = host.call(*OBJECTS, user=user)
    return {path for path in found if "/mission/" in path}


def test_missions_are_hidden_where_processes_are(host: Host) -> None:
    alices_manager(host)
    as_unit(host, "app-test-org.example.First-1.scope", "sleep", "600")
    first = f"{MANAGER[1]}/mission/{mission_of(host, 'org.example.First').id}"
    host.wait_for(lambda: first in _missions_seen(host, "bob"))
    signals = Signals(host)
    with _hidden(host):
        assert signals.wait("InterfacesRemoved").body[0] == first
        assert _missions_seen(host, "bob") == set()
        assert first in _missions_seen(host, "alice")
        as_unit(host, "app-test-org.example.Second-2.scope", "sleep", "600")
        second = f"{MANAGER[1]}/mission/{mission_of(host, 'org.example.Second').id}"
        assert _missions_seen(host, "bob") == set()
        assert {first, second} <= _missions_seen(host, None)
        about = ("get-property", MANAGER[0], second, "org.missiond.Agent1.Mission", "Pid")
        assert "no object" in host.busctl(*about, user="bob", check=False).stderr
        assert host.busctl(*about, user="alice").returncode == 0
        host.systemctl("restart", "missiond.service")
        assert _missions_seen(host, "bob") == set()
        assert {first, second} <= _missions_seen(host, "alice")
    host.wait_for(lambda: {first, second} <= _missions_seen(host, "bob"))
    for unit in ("First-1", "Second-2"):
        stop_unit(host, f"app-test-org.example.{unit}.scope")
