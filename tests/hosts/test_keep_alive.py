# SPDX-License-Identifier: Apache-2.0
"""What is done to the processes that own continuous tasks, as the host's kernel shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import configure, main_pid, manager, refused, start

if TYPE_CHECKING:
    from hosts.machine import Host
    from hosts.spawned import Spawned

SERVICE = "missiond.service"
HELPER = "missiond-helper.service"
BEFORE = 500
LOWER = 200
"""Above 0, since hosts in containers may lack CAP_SYS_RESOURCE, without which nothing goes below."""

SHELL = "sleep 600 & echo $!; read line; sleep 600 & echo $!; read line"
HOLD = "user.slice/user-1000.slice/test.scope"


def _owner(host: Host, *command: str, user: str | None = "alice") -> Spawned:
    raised = f'echo {BEFORE} >/proc/self/oom_score_adj; exec "$@"'
    return host.spawn(["sh", "-c", raised, "sh", *command], user=user)


def _score(host: Host, pid: int) -> int:
    return int(host.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout)


def _wait_score(host: Host, pid: int, score: int) -> None:
    try:
        host.wait_for(lambda: _score(host, pid) == score)
    except TimeoutError:
        raise AssertionError(f"{_score(host, pid)}, not {score}\n{host.journal()[-6000:]}") from None


def _kill(host: Host) -> None:
    restarts = int(host.show(SERVICE, "NRestarts"))
    host.systemctl("kill", "--signal=KILL", SERVICE)
    host.wait_for(lambda: int(host.show(SERVICE, "NRestarts")) == restarts + 1)
    host.wait_active()


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """Every test gives everything back, and the files in which it was written down are gone."""
    yield
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: host.run(["find", "/run/missiond/protection", "-type", "f"]).stdout == "")
    assert manager(host, "Degraded") == "as 0"


def test_owner_and_children_are_lowered_and_given_back(host: Host) -> None:
    owner = _owner(host, "sh", "-c", SHELL)
    children = [int(owner.stdout.readline())]
    host.run(["sh", "-c", f"echo 750 >/proc/{children[0]}/oom_score_adj"])
    task = start(host, owner, "dataTransfer")
    _wait_score(host, owner.pid, LOWER)
    _wait_score(host, children[0], 750 - 300)
    owner.stdin.write("\n")
    children.append(int(owner.stdout.readline()))
    assert _score(host, children[1]) == LOWER
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    _wait_score(host, owner.pid, BEFORE)
    _wait_score(host, children[0], 750)
    _wait_score(host, children[1], BEFORE)
    for child in children:
        host.run(["kill", str(child)])
    owner.signal("KILL")


def test_children_that_outlive_the_owner_are_given_back(host: Host) -> None:
    owner = _owner(host, "sh", "-c", SHELL)
    first = int(owner.stdout.readline())
    start(host, owner, "dataTransfer")
    _wait_score(host, first, LOWER)
    owner.signal("KILL")
    _wait_score(host, first, BEFORE)
    host.run(["kill", str(first)])


def test_two_tasks_of_one_process_are_counted(host: Host) -> None:
    owner = _owner(host, "sleep", "600")
    one = start(host, owner, "voip")
    two = start(host, owner, "voip", options=("context", "s", "two"))
    _wait_score(host, owner.pid, LOWER)
    host.tasks("CancelContinuousTask", "u", str(one), user="alice")
    host.wait_for(lambda: len(host.locks()) == 1)
    host.run(["sleep", "0.3"])
    assert _score(host, owner.pid) == LOWER
    host.tasks("CancelContinuousTask", "u", str(two), user="alice")
    _wait_score(host, owner.pid, BEFORE)
    owner.signal("KILL")


def test_none_leaves_the_process_alone(host: Host) -> None:
    owner, other = _owner(host, "sleep", "600"), _owner(host, "sleep", "600")
    start(host, owner, "voip", options=("keep-alive", "s", "none", "context", "s", "none"))
    start(host, other, "voip")
    _wait_score(host, other.pid, LOWER)
    assert _score(host, owner.pid) == BEFORE
    owner.signal("KILL")
    other.signal("KILL")


@pytest.mark.parametrize("how", ["kill", "restart"])
def test_given_back_after_the_agent_came_back(host: Host, how: str) -> None:
    owner = _owner(host, "sh", "-c", SHELL)
    first = int(owner.stdout.readline())
    task = start(host, owner, "dataTransfer")
    _wait_score(host, first, LOWER)
    if how == "kill":
        _kill(host)
    else:
        host.systemctl("restart", SERVICE)
    assert _score(host, owner.pid) == LOWER
    owner.stdin.write("\n")
    second = int(owner.stdout.readline())
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    for pid in (owner.pid, first, second):
        _wait_score(host, pid, BEFORE)
    host.run(["kill", str(first), str(second)])
    owner.signal("KILL")


def test_given_back_when_owner_and_agent_died_together(host: Host) -> None:
    owner = _owner(host, "sh", "-c", SHELL)
    first = int(owner.stdout.readline())
    start(host, owner, "dataTransfer")
    _wait_score(host, first, LOWER)
    host.run(["systemctl", "kill", "--signal=STOP", SERVICE])
    owner.signal("KILL")
    owner.wait()
    _kill(host)
    _wait_score(host, first, BEFORE)
    host.run(["kill", str(first)])


def test_a_unit_is_protected_as_a_whole(host: Host) -> None:
    command = ["sh", "-c", "echo 500 >/proc/self/oom_score_adj; (sleep 600 & sleep 600 &); exec sleep 600"]
    main = host.systemd_run("app-demo-1.service", command, user="alice")
    host.wait_for(lambda: len(_unit_pids(host, "app-demo-1.service")) == 3)
    pairs = ("1", "voip", "1", "pid", "u", str(main))
    task = host.tasks("StartBackgroundRunning", "asa{sv}", *pairs, user="alice")[3]
    pids = _unit_pids(host, "app-demo-1.service")
    for pid in pids:
        _wait_score(host, pid, LOWER)
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    for pid in pids:
        _wait_score(host, pid, BEFORE)
    host.systemctl("stop", "app-demo-1.service")


def _unit_pids(host: Host, unit: str) -> list[int]:
    group = host.show(unit, "ControlGroup")
    return [int(pid) for pid in host.run(["cat", f"/sys/fs/cgroup{group}/cgroup.procs"]).stdout.split()]


def test_a_process_of_root_is_left_alone(host: Host) -> None:
    owner = _owner(host, "sleep", "600", user=None)
    start(host, owner, "voip", user=None)
    host.wait_for(lambda: "[missing: oom" in host.run(["missionctl", "tasks", "--all"]).stdout)
    assert _score(host, owner.pid) == BEFORE
    owner.signal("KILL")


def test_the_amount_is_configured(host: Host) -> None:
    configure(host, "[KeepAlive]\nOOMScoreAdjust=-77\n")
    owner = _owner(host, "sleep", "600")
    start(host, owner, "voip")
    _wait_score(host, owner.pid, BEFORE - 77)
    configure(host, "")
    host.systemctl("restart", SERVICE)
    owner.signal("KILL")


def test_a_frozen_owner_is_thawed_at_once_and_always(host: Host) -> None:
    directory = f"/sys/fs/cgroup/{HOLD}"
    host.run(["mkdir", "-p", directory])
    owner = _owner(host, "sleep", "600")
    host.run(["sh", "-c", f"echo {owner.pid} >{directory}/cgroup.procs; echo 1 >{directory}/cgroup.freeze"])
    task = start(host, owner, "voip")
    events = f"{directory}/cgroup.events"
    host.wait_for(lambda: "frozen 0" in host.run(["cat", events]).stdout)
    times = [float(line) for line in host.python(_FREEZE, directory).split()]
    assert len(times) == 10
    print("thawed after ms:", times)
    assert sorted(times)[len(times) // 2] <= 100
    host.tasks("CancelContinuousTask", "u", str(task), user="alice")
    host.wait_for(lambda: host.locks() == [])
    host.run(["sh", "-c", f"echo 1 >{directory}/cgroup.freeze; sleep 0.5; grep -q 'frozen 1' {events}"])
    host.run(["sh", "-c", f"echo 0 >{directory}/cgroup.freeze"])
    owner.signal("KILL")
    owner.wait()
    host.wait_for(lambda: host.run(["rmdir", directory], check=False).returncode == 0)


_FREEZE = """
import sys, time
directory = sys.argv[1]
for _ in range(10):
    begin = time.monotonic()
    with open(directory + "/cgroup.freeze", "w") as file:
        file.write("1")
    while True:
        if open(directory + "/cgroup.freeze").read().strip() == "0":
            break
        if time.monotonic() - begin > 5:
            sys.exit("still frozen")
        time.sleep(0.001)
    print(round((time.monotonic() - begin) * 1000, 1))
    time.sleep(0.05)
"""


def test_nobody_else_may_ask_the_helper(host: Host) -> None:
    program = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('{}')"
    call = ["python3", "-c", program.format("/run/missiond-helper.socket")]
    assert "PermissionError" in host.run(call, user="alice", check=False).stderr


def test_the_helper_ends_when_idle(host: Host) -> None:
    owner = _owner(host, "sleep", "600")
    start(host, owner, "voip")
    _wait_score(host, owner.pid, LOWER)
    owner.signal("KILL")
    host.wait_for(lambda: host.show(HELPER, "ActiveState") == "inactive", timeout=20)
    assert host.show("missiond-helper.socket", "ActiveState") == "active"
    assert host.show(HELPER, "Result") == "success"


def test_without_the_helper_it_is_said_and_made_good(host: Host) -> None:
    owner = _owner(host, "sleep", "600")
    host.systemctl("stop", "missiond-helper.socket", HELPER)
    try:
        start(host, owner, "voip")
        host.wait_for(lambda: "no missiond-helper" in manager(host, "Degraded"))
    finally:
        host.systemctl("start", "missiond-helper.socket")
    other = _owner(host, "sleep", "600")
    start(host, other, "voip", options=("context", "s", "other"))
    _wait_score(host, other.pid, LOWER)
    owner.signal("KILL")
    other.signal("KILL")


@pytest.mark.parametrize("how", ["CONT", "KILL"])
def test_a_helper_that_hangs_is_said_and_made_good(host: Host, how: str) -> None:
    """The answer does not wait for it, and nothing has to be done once it goes on, or is started again."""
    owner = _owner(host, "sleep", "600")
    host.systemctl("start", HELPER)
    host.run(["kill", "-STOP", main_pid(host, HELPER)])
    start(host, owner, "voip")
    assert "not protected yet: missiond-helper, logind or systemd takes long" in manager(host, "Degraded")
    host.wait_for(lambda: "no missiond-helper (no answer)" in manager(host, "Degraded"), 15)
    assert "not protected yet" not in manager(host, "Degraded")
    host.run(["kill", f"-{how}", main_pid(host, HELPER)])
    _wait_score(host, owner.pid, LOWER)
    host.wait_for(lambda: manager(host, "Degraded") == "as 0")
    owner.signal("KILL")


def test_restart_is_for_services(host: Host) -> None:
    owner = _owner(host, "sleep", "600")
    options = ("1", "voip", "2", "pid", "u", str(owner.pid), "keep-alive", "s", "restart")
    assert "restart" in refused(host, "StartBackgroundRunning", "asa{sv}", *options)
    owner.signal("KILL")
