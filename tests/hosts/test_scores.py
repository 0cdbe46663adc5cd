# SPDX-License-Identifier: Apache-2.0
"""Nobody keeps a lower oom_score_adj than without tasks, and nobody gets another by the tasks of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from hosts.client import manager, start
from hosts.people import alices_manager
from hosts.services import AS_ALICE, Service

if TYPE_CHECKING:
    from hosts.machine import Host
    from hosts.spawned import Spawned

APPS = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice"
LEAVES = f"""
cd {APPS} && mkdir -p left.scope
exec 3<>/run/user/1000/lines </run/user/1000/lines
echo 900 >/proc/self/oom_score_adj
while read -r line; do
    setsid sh -c 'echo $$ >left.scope/cgroup.procs; eval "$1"; exec sleep 600' sh "$line" &
done
"""
"""Starts a child in another cgroup and another session for each line that it reads, to do that first."""


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    yield
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: host.run(["find", "/run/missiond/protection", "-type", "f"]).stdout == "")
    assert manager(host, "Degraded") == "as 0"


@pytest.fixture(scope="module", autouse=True)
def alice(host: Host) -> None:
    alices_manager(host)


def score(host: Host, pid: int) -> int:
    return int(host.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout.split()[0])


def at(host: Host, value: int, user: str = "alice") -> Spawned:
    """A process of theirs that has raised itself."""
    script = f"echo {value} >/proc/self/oom_score_adj; exec sleep 600"
    process = host.spawn(["sh", "-c", script], user=user)
    host.wait_for(lambda: score(host, process.pid) == value)
    return process


def cancel(host: Host, task: int, user: str = "alice") -> None:
    host.tasks("CancelContinuousTask", "u", str(task), user=user)


@pytest.mark.parametrize("made", [601, 899, 950])
def test_raising_itself_gains_nothing(host: Host, made: int) -> None:
    owner = at(host, 900)
    for _ in range(3):
        task = start(host, owner, "voip")
        assert score(host, owner.pid) >= 600
        host.run(["sh", "-c", f"echo {made} >/proc/{owner.pid}/oom_score_adj"], user="alice")
        cancel(host, task)
        host.wait_for(lambda: score(host, owner.pid) == max(made, 900))
    owner.signal("KILL")


@pytest.mark.parametrize("how", ["owner ends", "task ends", "agent restarts"])
def test_children_that_have_gone_elsewhere_are_found(host: Host, how: str) -> None:
    """They are in another cgroup and session, and where the owner has ended their parent is their manager."""
    service = Service(host, "leaver.service", of_user=True)
    pipe = "/run/user/1000/lines"
    host.run(["mkfifo", pipe], user="alice")
    host.run(["tee", "/tmp/leaver"], stdin=LEAVES)
    service.run("sh", "/tmp/leaver", options=("--collect",))
    host.wait_for(lambda: score(host, service.pid) == 900)
    owner = service.pid
    arguments = ("1", "voip", "1", "pid", "u", str(owner))
    host.tasks("StartBackgroundRunning", "asa{sv}", *arguments, user="alice")
    host.wait_for(lambda: score(host, owner) == 600)
    for line in ("true", "echo 601 >/proc/self/oom_score_adj", "echo 950 >/proc/self/oom_score_adj"):
        host.run(["sh", "-c", f"echo '{line}' >{pipe}"], user="alice")
    host.wait_for(lambda: len(_left(host)) == 3)
    host.wait_for(lambda: sorted(score(host, pid) for pid in _left(host)) == [600, 601, 950])
    if how == "agent restarts":
        host.systemctl("restart", "missiond.service")
    if how == "task ends":
        task = host.tasks("GetAllContinuousTasks", "b", "false", user="alice")[0][0]["continuous-task-id"]
        cancel(host, int(task["data"]))
    else:
        host.run(["kill", "-KILL", str(owner)])
    host.wait_for(lambda: sorted(score(host, pid) for pid in _left(host)) == [900, 900, 950])
    command = [*AS_ALICE, "systemctl", "--user", "stop", service.name]
    host.run(command, user="alice", check=False)  # gone where its process was killed
    host.run(["sh", "-c", f"echo 1 >{APPS}/left.scope/cgroup.kill; rm {pipe}"])
    host.wait_for(lambda: host.run(["rmdir", f"{APPS}/left.scope"], check=False).returncode == 0)


def _left(host: Host) -> list[int]:
    return [
        int(pid) for pid in host.run(["cat", f"{APPS}/left.scope/cgroup.procs"], check=False).stdout.split()
    ]


def test_tasks_of_others_change_nothing(host: Host) -> None:
    """Alice has tasks for 300 and 600 and 900, so that 0, 300 and 600 were given out."""
    hers = [at(host, value) for value in (300, 600, 900)]
    tasks = [start(host, each, "voip", options=("context", "s", str(each.pid))) for each in hers]
    for value in (0, 300, 500, 600):
        owner = at(host, value, "bob")
        for _ in range(2):
            task = start(host, owner, "voip", user="bob")
            assert score(host, owner.pid) == max(value - 300, 0 if value else score(host, owner.pid))
            cancel(host, task, "bob")
            host.wait_for(lambda: score(host, owner.pid) == value)  # noqa: B023
        owner.signal("KILL")
    for task in tasks:
        cancel(host, task)
    for each, value in zip(hers, (300, 600, 900), strict=True):
        host.wait_for(lambda: score(host, each.pid) == value)  # noqa: B023
        each.signal("KILL")


def test_a_program_with_children_at_300_leaves_others_alone(host: Host) -> None:
    """As browsers have them, and of the same user's other programs too."""
    owner = host.spawn(
        ["sh", "-c", "(echo 300 >/proc/self/oom_score_adj; exec sleep 600) & wait"], user="alice"
    )
    task = start(host, owner, "audioPlayback")
    beside = [host.spawn(["sleep", "600"], user=user) for user in ("alice", "bob")]
    for each, user in zip(beside, ("alice", "bob"), strict=True):
        cancel(host, start(host, each, "voip", user=user), user)
    cancel(host, task)
    host.wait_for(lambda: host.locks() == [])
    host.wait_for(lambda: [score(host, each.pid) for each in beside] == [0, 0])
    for each in (*beside, owner):
        each.signal("KILL")


def test_in_a_cgroup_of_several_users_each_has_its_own(host: Host) -> None:
    at_500 = "sh -c 'echo 500 >/proc/self/oom_score_adj; exec sleep 600'"
    bob, alice = (f"exec setpriv --reuid={user} --clear-groups {at_500}" for user in ("bob", "alice"))
    script = f"({bob}) & {alice}"
    host.run(["systemd-run", "--quiet", "--unit=shared.service", "--", "sh", "-c", script])
    service = Service(host, "shared.service")
    group = f"/sys/fs/cgroup{host.show('shared.service', 'ControlGroup')}/cgroup.procs"
    host.wait_for(
        lambda: [score(host, int(pid)) for pid in host.run(["cat", group]).stdout.split()] == [500] * 2
    )
    (bobs,) = {int(pid) for pid in host.run(["cat", group]).stdout.split()} - {service.pid}
    arguments = ("1", "voip", "1", "pid", "u", str(service.pid))
    task = host.tasks("StartBackgroundRunning", "asa{sv}", *arguments, user="alice")[3]
    assert (score(host, service.pid), score(host, bobs)) == (200, 500)
    cancel(host, task)
    host.wait_for(lambda: score(host, service.pid) == 500)
    assert score(host, bobs) == 500
    host.systemctl("stop", "shared.service")
