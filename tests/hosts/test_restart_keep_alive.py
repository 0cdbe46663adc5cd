# SPDX-License-Identifier: Apache-2.0
"""Services that systemd starts again, and their tasks, which go on: of the system's manager and alice's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hosts.client import manager, refused
from hosts.services import AS_ALICE, KINDS, Service, drop_ins, gone_on, over, told, unit_file

if TYPE_CHECKING:
    from hosts.machine import Host

SERVICE = "missiond.service"
pytestmark = pytest.mark.usefixtures("alice", "nothing_kept")


@KINDS
def test_killed_it_is_started_again_and_the_task_goes_on(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-killed.service", of_user)
    service.run("sleep", "600")
    task = service.task()
    assert service.show("Restart") == "always"
    assert len(drop_ins(host)) == 1
    sampler = host.spawn(["sh", "-c", SAMPLER])
    assert sampler.stdout.readline() == "ready\n"
    for restarts in (1, 2):
        gone_on(host, task, service.kill(), restarts)
    sampler.stdin.write("\n")
    least, samples = map(int, sampler.stdout.readline().split())
    assert least >= 1, f"no lock in some of {samples} looks"
    assert samples > 20
    service.systemctl("stop", service.name)
    over(host)


SAMPLER = """
python3 -c '
import select, sys, os
uid = __import__("pwd").getpwnam("missiond").pw_uid
def locks():
    count = 0
    for name in os.listdir("/run/systemd/inhibit"):
        if name.endswith(".ref"): continue
        try: text = open("/run/systemd/inhibit/" + name).read()
        except OSError: continue
        count += f"UID={uid}\\n" in text and "MODE=block" in text
    return count
print("ready", flush=True)
seen = []
while not select.select([sys.stdin], [], [], 0.005)[0]: seen.append(locks())
print(min(seen), len(seen), flush=True)
'
"""


@KINDS
def test_a_service_that_ends_by_itself_is_started_again(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-exit.service", of_user)
    host.run(["mkfifo", "-m", "666", "/tmp/end"])
    unit_file(host, service, "ExecStart=/bin/sh -c 'read line </tmp/end'\n")
    task = service.task()
    for restarts in (1, 2):
        before = service.pid
        host.run(["sh", "-c", "echo >/tmp/end"])
        service.next_after(before)
        gone_on(host, task, service.pid, restarts)
    service.systemctl("stop", service.name)
    over(host)
    host.run(["rm", "/tmp/end"])


def test_a_command_that_a_reload_would_spoil_is_left_alone(host: Host) -> None:
    service = Service(host, "restart-spoilt.service")
    service.run("sh", "-c", "exec sleep 600", "$nothing")
    options = ("pid", "u", str(service.pid), "keep-alive", "s", "restart")
    said = refused(host, "StartBackgroundRunning", "asa{sv}", "1", "voip", "2", *options)
    assert "9800005: restart-spoilt.service is transient with ; or $ in its command" in said
    assert service.show("Restart") == "no"
    service.systemctl("stop", service.name)


@KINDS
def test_cancelled_it_is_left_to_itself(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-cancel.service", of_user)
    service.run("sleep", "600")
    task, other = service.task(), service.task("context", "s", "other")
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: len(host.locks()) == 1)
    assert service.show("Restart") == "always"
    host.tasks("CancelContinuousTask", "u", str(other), user="alice")
    over(host)
    assert service.show("Restart") == "no"
    host.run(["kill", "-KILL", str(service.pid)])
    host.wait_for(lambda: service.show("ActiveState") == "failed")
    service.systemctl("reset-failed", service.name)


@KINDS
def test_its_own_restart_is_enough(host: Host, of_user: bool) -> None:
    service = Service(host, "restart-own.service", of_user)
    restart = "Restart=on-failure\nRestartSec=1500ms\n"
    unit_file(host, service, f"ExecStart=/bin/sleep 600\nOOMScoreAdjust=500\n{restart}")
    task = service.task()
    protected(host, service.pid)
    assert drop_ins(host) == []
    assert service.show("Restart") == "on-failure"
    gone_on(host, task, service.kill(), 1)
    protected(host, service.pid)
    service.systemctl("stop", service.name)
    over(host)


def protected(host: Host, pid: int) -> None:
    """Wait until it is dearer to the OOM killer than its unit says."""
    host.wait_for(lambda: host.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout.strip() == "200")


def kill_agent(host: Host) -> None:
    """SIGKILL, and wait for the next run."""
    restarts = int(host.show(SERVICE, "NRestarts"))
    host.systemctl("kill", "--signal=KILL", SERVICE)
    host.wait_for(lambda: int(host.show(SERVICE, "NRestarts")) == restarts + 1)
    host.wait_active()


@pytest.mark.parametrize("how", ["restart", "kill"])
@KINDS
def test_an_agent_that_was_away_finds_it(host: Host, of_user: bool, how: str) -> None:
    service = Service(host, "restart-away.service", of_user)
    service.run("sleep", "600")
    task = service.task()
    host.run(["systemctl", "kill", "--signal=STOP", SERVICE])
    pid = service.kill()
    if how == "kill":
        kill_agent(host)
    else:
        host.systemctl("kill", "--signal=CONT", SERVICE)
        host.systemctl("restart", SERVICE)
    gone_on(host, task, pid, 1)
    gone_on(host, task, service.kill(), 2)
    host.systemctl("restart", SERVICE)
    host.run(["systemctl", "kill", "--signal=STOP", SERVICE])
    service.systemctl("stop", service.name)
    kill_agent(host)
    over(host)


def test_left_over_drop_ins_are_removed(host: Host) -> None:
    """The agent and the task died together, as when it is killed in between."""
    service = Service(host, "restart-left.service")
    service.run("sleep", "600")
    service.task()
    host.systemctl("kill", "--signal=KILL", SERVICE)
    host.run(["sh", "-c", "rm -f /run/missiond/continuous/*"])
    host.systemctl("restart", SERVICE)
    over(host)
    service.systemctl("stop", service.name)


def test_what_can_not_be_kept_running(host: Host) -> None:
    options = ("1", "dataTransfer", "2", "keep-alive", "s", "restart", "pid", "u")
    call = ("StartBackgroundRunning", "asa{sv}", *options)
    scope = host.spawn(["sleep", "600"], user="alice")
    assert "401: keep-alive restart is for systemd services" in refused(host, *call, str(scope.pid))
    scope.signal("KILL")
    service = Service(host, "restart-mixed.service")
    host.run(["systemd-run", "--quiet", f"--unit={service.name}", "--", "sh", "-c", MIXED])
    host.wait_for(lambda: host.run(["pgrep", "-u", "alice", "-x", "sleep"], check=False).stdout)
    child = host.run(["pgrep", "-u", "alice", "-x", "sleep"]).stdout.strip()
    assert "9800005: the main process" in refused(host, *call, child)
    service.systemctl("stop", service.name)
    host.systemctl("stop", "missiond-units.socket")
    service.run("sleep", "600")
    try:
        assert "9800004: no missiond-units" in refused(host, *call, str(service.pid))
        assert "no missiond-units" in manager(host, "Degraded")
    finally:
        host.systemctl("start", "missiond-units.socket")
    service.task()
    service.systemctl("stop", service.name)


MIXED = "setpriv --reuid=alice --clear-groups sleep 600 & wait"


def test_a_manager_that_gives_no_answer_delays_nobody_else(host: Host) -> None:
    users = Service(host, "restart-hung.service", of_user=True)
    users.run("sleep", "600")
    task = users.task()
    system = Service(host, "restart-beside.service")
    system.run("sleep", "600")
    other = system.task()
    main = host.show("user@1000.service", "MainPID")
    assert int(main) > 1
    host.run(["kill", "-STOP", main])
    try:
        before = users_pid = int(str(told(host, task, "Pid")))
        host.run(["kill", "-KILL", str(users_pid)])
        pid = system.kill()
        host.wait_for(lambda: told(host, other, "Pid") == pid, 3)
        assert told(host, task, "Pid") == before
    finally:
        host.run(["kill", "-CONT", main])
    host.wait_for(lambda: told(host, task, "Restarts") == 1, 30)
    for service in (users, system):
        service.systemctl("stop", service.name)


def test_the_end_of_the_users_manager_is_the_end(host: Host) -> None:
    service = Service(host, "restart-logout.service", of_user=True)
    service.run("sleep", "600")
    service.task()
    host.systemctl("stop", "user@1000.service")
    try:
        over(host)
    finally:
        host.systemctl("start", "user@1000.service")


def test_nobody_else_may_ask(host: Host) -> None:
    program = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('{}')"
    call = ["python3", "-c", program.format("/run/missiond-units.socket")]
    assert "PermissionError" in host.run(call, user="alice", check=False).stderr


@pytest.mark.parametrize("user", ["alice", None], ids=["alice", "root"])
def test_missionctl_runs_a_service(host: Host, user: str | None) -> None:
    service = Service(host, "missiond-run-nightly.copy.service", of_user=user is not None)
    run = [
        *AS_ALICE[: 2 if user else 1],
        "missionctl",
        "run",
        "--keep-alive=restart",
        "--name",
        "nightly.copy",
    ]
    script = 'echo "in $PWD: $0 $1 $$" >/tmp/said; exec sleep 600'
    done = host.run([*run, "--mode", "dataTransfer", "--", "sh", "-c", script, "a b", "$HOME%n"], user=user)
    assert done.stdout.splitlines()[0] == service.name
    assert done.stderr == ""
    stop = "systemctl --user stop" if user else "systemctl stop"
    assert f"{stop} {service.name}" in done.stdout
    said = host.run(["cat", "/tmp/said"]).stdout
    assert f": a b $HOME%n {service.pid}\n" in said
    (task,) = json.loads(host.run(["missionctl", "tasks", "--json"], user=user).stdout)
    assert task["application"] == "missiond-run-nightly.copy"
    assert (task["pid"], task["keep_alive"]) == (service.pid, "restart")
    again = host.run([*run, "--", "sleep", "600"], user=user, check=False)
    assert (again.returncode, again.stdout) == (125, "")
    assert f"{service.name} is in use already; end it with `{stop} {service.name}`" in again.stderr
    gone_on(host, task["id"], service.kill(), 1)
    host.run(["rm", "/tmp/said"])
    service.systemctl("stop", service.name)
    over(host)
    failing = host.run([*run, "--mode", "wifiInteraction", "--", "sleep", "600"], user=user, check=False)
    if user:
        assert failing.returncode == 125
        assert service.show("ActiveState") == "inactive"
    else:
        service.systemctl("stop", service.name)


def test_a_service_that_can_not_be_started_is_told_and_leaves_nothing(host: Host) -> None:
    script = """
    printf garbage >/tmp/garbage && chmod 755 /tmp/garbage
    alice() { runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/1000 "$@"; }
    cd /root
    alice missionctl run --keep-alive=restart --name broken -- sleep 600; echo "ends with $?"
    cd /
    alice missionctl run --keep-alive=restart --name broken -- /tmp/garbage; echo "ends with $?"
    missionctl run --keep-alive=restart --name broken -- /tmp/garbage; echo "ends with $?"
    rm /tmp/garbage
    alice systemctl --user list-units --all 'missiond-run-broken*'
    systemctl list-units --all 'missiond-run-broken*'
    """
    done = host.run(["sh", "-c", script])
    entering, *executing = done.stderr.splitlines()
    assert entering == "missionctl: the service manager can't enter /root; change to another directory"
    said = "missionctl: the service manager can't execute /tmp/garbage; is it a program that it can read?"
    assert executing == [said, said]
    statuses = [line for line in done.stdout.splitlines() if "ends with" in line]
    assert statuses == ["ends with 125", "ends with 126", "ends with 126"]
    assert "missiond-run-broken" not in done.stdout
    over(host)
