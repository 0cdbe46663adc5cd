# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks on a real host, through busctl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hosts.client import refused, request, sleeper, start
from hosts.machine import MANAGER
from hosts.signals import Signals

if TYPE_CHECKING:
    from hosts.machine import Host

CONTEXT = ("context", "s", "second")


def test_modes_make_one_truthful_lock(host: Host) -> None:
    owner = sleeper(host)
    number = start(host, owner, "voip", "dataTransfer")
    (lock,) = host.locks()
    assert (lock.what, lock.mode) == ("idle:sleep", "block") or lock.what == "sleep:idle"
    assert lock.who == f"sleep (pid {owner.pid}, uid 1000)"
    assert lock.why == f"continuous task {number}: dataTransfer, voip"
    (tasks,) = host.tasks("GetAllContinuousTasks", "b", "true", user="alice")
    assert tasks[0]["bg-modes"]["data"] == ["dataTransfer", "voip"]
    assert tasks[0]["pid"]["data"] == owner.pid
    assert host.tasks("GetAllContinuousTasks", "b", "true", user="bob") == [[]]
    pid = ("1", "pid", "u", str(owner.pid))
    reply = host.tasks("UpdateBackgroundRunning", "asa{sv}", "1", "location", *pid, user="alice")
    assert reply == [65535, 0, -1, number]
    host.wait_for(lambda: [lock.what for lock in host.locks()] == ["sleep"])
    assert host.locks()[0].why.endswith("location")
    host.tasks("StopBackgroundRunning", "a{sv}", *pid, user="alice")
    host.wait_for(lambda: host.locks() == [])
    assert "9800005" in refused(host, "StopBackgroundRunning", "a{sv}", *pid)
    owner.signal("KILL")


def test_one_for_each_context(host: Host) -> None:
    owner = sleeper(host)
    first, second = start(host, owner, "voip"), start(host, owner, "voip", options=CONTEXT)
    assert first != second
    options = ("2", "pid", "u", str(owner.pid), *CONTEXT)
    assert "9800005" in refused(host, "StartBackgroundRunning", "asa{sv}", "1", "voip", *options)
    owner.signal("KILL")
    host.wait_for(lambda: host.locks() == [])


def test_cancelled_by_its_user_and_by_nobody_else(host: Host) -> None:
    signals = Signals(host)
    owner = sleeper(host)
    number = start(host, owner, "taskKeeping")
    assert "201: " in refused(host, "CancelContinuousTask", "u", str(number), user="bob")
    assert len(host.locks()) == 1
    host.tasks("CancelContinuousTask", "u", str(number), user="alice")
    assert signals.wait("ContinuousTaskCancel").body == [number, 1]
    assert "9800005" in refused(host, "CancelContinuousTask", "u", str(number))
    assert "401: " in refused(host, "CancelContinuousTask", "u", "0")
    owner.signal("KILL")


def test_a_dead_owner_is_a_systems_cancel(host: Host) -> None:
    signals = Signals(host)
    owner = sleeper(host)
    number = start(host, owner, "audioPlayback")
    owner.signal("KILL")
    assert signals.wait("ContinuousTaskCancel").body == [number, 2]
    removed = signals.wait("InterfacesRemoved").body
    assert removed[0] == f"/org/missiond/Agent1/continuous/{number}"
    host.wait_for(lambda: host.locks() == [])


def test_what_is_refused(host: Host) -> None:
    for modes, code in (
        (("0",), "401"),
        (("1", "nonsense"), "401"),
        (("1", "wifiInteraction"), "202"),
        (("10000", *["nonsense"] * 10_000), "401"),
    ):
        answer = refused(host, "StartBackgroundRunning", "asa{sv}", *modes, "0")
        assert f"{code}: " in answer or "too long" in answer
    restart = ("1", "keep-alive", "s", "restart")
    assert "401: " in refused(host, "StartBackgroundRunning", "asa{sv}", "1", "voip", *restart)
    assert host.locks() == []


def test_polkit_decides(host: Host) -> None:
    rule = """polkit.addRule(function(action, subject) {
        if (action.id == "org.missiond.Agent1.keep-background-running" && subject.user == "bob")
            return polkit.Result.NO;
    });"""
    host.run(["tee", "/etc/polkit-1/rules.d/10-test.rules"], stdin=rule)
    denied = ("StartBackgroundRunning", "asa{sv}", "1", "voip", "0")
    host.wait_for(
        lambda: host.busctl("call", *MANAGER, TASKS_INTERFACE, *denied, user="bob", check=False).returncode
    )
    assert "201: " in refused(host, *denied, user="bob")
    host.tasks(*denied, user="alice")
    host.tasks(*denied)
    host.run(["rm", "/etc/polkit-1/rules.d/10-test.rules"])


def test_the_objects_say_the_same(host: Host) -> None:
    owner = sleeper(host)
    transient, continuous = request(host, owner), start(host, owner, "dataTransfer")
    progress = ("u", str(continuous), "3", "title", "s", "up", "file-name", "s", "a.iso", "value", "u", "40")
    host.tasks("UpdateDataTransferProgress", progress[0] + "a{sv}", *progress[1:], user="alice")
    call = (*MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    (objects,) = host.call(*call, user="bob")
    one = objects[f"/org/missiond/Agent1/transient/{transient}"]["org.missiond.Agent1.TransientTask"]
    assert (one["Pid"]["data"], one["Locked"]["data"]) == (owner.pid, True)
    other = objects[f"/org/missiond/Agent1/continuous/{continuous}"]["org.missiond.Agent1.ContinuousTask"]
    assert other["Progress"]["data"]["value"]["data"] == 40
    owner.signal("KILL")
    host.wait_for(lambda: host.call(*call, user="bob") == [{}] or _only_manager(host.call(*call)[0]))


def _only_manager(objects: dict[str, object]) -> bool:
    return not [path for path in objects if path != "/org/missiond/Agent1"]


TASKS_INTERFACE = "org.missiond.Agent1.BackgroundTaskManager"
