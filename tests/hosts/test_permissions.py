# SPDX-License-Identifier: Apache-2.0
"""Who may do what, as real users of a real host with its own polkit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts.askers import Asker
from hosts.client import main_pid, without
from hosts.crowds import BIND
from hosts.machine import MANAGER, TASKS, Host
from hosts.people import MISSIONS
from hosts.permission_table import COLUMNS, ROWS, Row, Stage
from missiond.bus.introspection import load_specs

POLKIT = "polkit.service"
RULES = "/etc/polkit-1/rules.d/10-test.rules"
ADMIN = """polkit.addRule(function(action, subject) {
    if (action.id == "org.missiond.Agent1.manage-others" && subject.user == "bob") return "yes"; });"""
DENIED = """polkit.addRule(function(action, subject) {
    if (action.id.indexOf("org.missiond.Agent1.") == 0 && subject.user == "alice") return "no"; });"""
METHODS = {(spec.name, member) for spec in load_specs().values() for member in spec.methods}


@pytest.fixture(scope="module")
def peopled(host_tree: Path) -> Iterator[Host]:
    """A host with programs that call for its users."""
    with Host(host_tree, options=BIND) as host:
        host.wait_active()
        yield host


@contextlib.contextmanager
def rules(host: Host, text: str) -> Iterator[None]:
    """A host whose administrator has written this."""
    host.run(["tee", RULES], stdin=text)
    host.run(["chmod", "644", RULES])
    host.systemctl("restart", POLKIT)
    try:
        yield
    finally:
        host.run(["rm", RULES])
        host.systemctl("restart", POLKIT)


@contextlib.contextmanager
def circumstances(host: Host, column: str) -> Iterator[str | None]:
    """Bring about what the column is about; who calls."""
    callers = {"root": None, "other": "bob", "admin": "bob"}
    with contextlib.ExitStack() as stack:
        if column == "absent":
            stack.enter_context(without(host, "org.freedesktop.PolicyKit1", POLKIT))
        elif column in ("admin", "denied"):
            stack.enter_context(rules(host, ADMIN if column == "admin" else DENIED))
        yield callers.get(column, "alice")


def staged(host: Host, root: Asker) -> Stage:
    """A process of alice's with everything; put there by root, who may whatever polkit says."""
    pid = host.spawn(["sleep", "600"], user="alice").pid
    # until then it is a shell, and another application
    host.wait_for(lambda: host.run(["cat", f"/proc/{pid}/comm"]).stdout == "sleep\n")
    chosen = {"pid": ["u", pid]}
    request = root.ask("RequestSuspendDelay", "sa{sv}", "x", chosen)
    task = root.ask("StartBackgroundRunning", "asa{sv}", ["dataTransfer"], chosen)
    mission = root.ask("RegisterMission", "a{sv}", chosen, interface=MISSIONS)
    return Stage(pid, request.results[0], task.results[3], mission.results[0])


def outcome(row: Row, stage: Stage, caller: Asker) -> str:
    """Of one cell of the table."""
    return caller.ask(row.member, row.signature, *row.body(stage), interface=row.interface).outcome


@pytest.mark.parametrize("column", COLUMNS)
def test_the_table(peopled: Host, column: str) -> None:
    root = Asker(peopled, None)
    with circumstances(peopled, column) as user:
        caller = Asker(peopled, user)
        found, wanted = {}, {}
        for row in ROWS:
            if (row.interface, row.member) not in METHODS:
                continue
            stage = staged(peopled, root)
            found[row.member] = outcome(row, stage, caller)
            wanted[row.member] = row.outcomes[COLUMNS.index(column)]
            peopled.run(["kill", "-KILL", str(stage.pid)], check=False)
            peopled.wait_for(lambda: peopled.locks() == [])
        caller.close()
    root.close()
    assert found == wanted


def test_a_session_makes_no_difference_to_the_owner(peopled: Host) -> None:
    root = Asker(peopled, None)
    stage = staged(peopled, root)
    call = ["busctl", "call", *MANAGER, TASKS, "GetRemainingDelayTime", "u", str(stage.request)]
    session = ["systemd-run", "--quiet", "--wait", "--collect", "--pipe", "--property=PAMName=login"]
    assert peopled.run([*session, "--uid=alice", "--", *call]).stdout.startswith("u ")
    refused = peopled.run([*session, "--uid=bob", "--", *call], check=False)
    assert refused.returncode != 0
    peopled.run(["kill", "-KILL", str(stage.pid)])
    root.close()
    peopled.wait_for(lambda: peopled.locks() == [])


def test_polkit_that_hangs_holds_up_nobody_else(peopled: Host) -> None:
    """Those who need it wait; as soon as it answers, so do we."""
    root = Asker(peopled, None)
    stage = staged(peopled, root)
    waiting = [Asker(peopled, "alice") for _ in range(3)]
    quick = Asker(peopled, "alice")
    bob = Asker(peopled, "bob")
    quick.ask("GetAllContinuousTasks", "b", True)  # polkit runs, and the agent has seen it
    polkit = main_pid(peopled, POLKIT)
    peopled.run(["kill", "-STOP", polkit])
    try:
        waiting[0].send("GetAllContinuousTasks", "b", True)
        waiting[1].send("StartBackgroundRunning", "asa{sv}", ["voip"], {"context": ["s", "b"]})
        waiting[2].send("UpdateBackgroundRunning", "asa{sv}", ["voip"], {"pid": ["u", stage.pid]})
        bob.send("CancelContinuousTask", "u", stage.task)
        assert quick.ask("GetRemainingDelayTime", "u", stage.request).outcome == "ok"
        assert quick.ask("CancelSuspendDelay", "u", stage.request).outcome == "ok"
        assert root.ask("GetAllContinuousTasks", "b", True).outcome == "ok"
        assert len(peopled.locks()) == 1
    finally:
        peopled.run(["kill", "-CONT", polkit])
    assert [each.answer().outcome for each in waiting] == ["ok"] * 3
    assert bob.answer().outcome == "201"
    for each in (*waiting, quick, bob, root):
        each.close()
    peopled.run(["kill", "-KILL", str(stage.pid)])
    peopled.wait_for(lambda: peopled.locks() == [])


def test_objects_are_read_by_all_and_written_by_none(peopled: Host) -> None:
    root, bob = Asker(peopled, None), Asker(peopled, "bob")
    stage = staged(peopled, root)
    for kind, number, interface in (
        ("transient", stage.request, "TransientTask"),
        ("continuous", stage.task, "ContinuousTask"),
        ("mission", stage.mission, "Mission"),
    ):
        named = {"interface": "org.freedesktop.DBus.Properties", "path": f"{MANAGER[1]}/{kind}/{number}"}
        name = f"org.missiond.Agent1.{interface}"
        assert bob.ask("Get", "ss", name, "Pid", **named).results == [stage.pid]
        for each in (root, bob):
            assert each.ask("Set", "ssv", name, "Pid", ["u", 1], **named).outcome == "PropertyReadOnly"
    for each in (root, bob):
        each.close()
    peopled.run(["kill", "-KILL", str(stage.pid)])
    peopled.wait_for(lambda: peopled.locks() == [])
