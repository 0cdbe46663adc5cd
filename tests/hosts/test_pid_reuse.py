# SPDX-License-Identifier: Apache-2.0
"""A pid that is used again: nothing of the process that had it before goes to the one that has it now."""

from __future__ import annotations

import subprocess

import pytest

from hosts.client import main_pid, request, sleeper, start
from hosts.machine import Host
from hosts.spawned import Spawned

SERVICE = "missiond.service"
_AGAIN = """
import os, sys
wanted = int(sys.argv[1])
for _ in range(50):
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(wanted - 1))
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDWR), 1)
        os.setresgid(1001, 1001, 1001)
        os.setresuid(1001, 1001, 1001)
        os.execvp("sleep", ["sleep", "600"])
    if pid == wanted:
        print(pid)
        sys.exit()
    os.kill(pid, 9)
    os.waitpid(pid, 0)
sys.exit("that pid can't be had")
"""
"""Takes a pid for a process of bob's; as root, in the pid namespace, but with a /proc that may be written."""


def again(host: Host, pid: int) -> None:
    """Give this pid, which is free, to a process of bob's."""
    # the host's own /proc/sys is read-only, this machine's is not and means the pid namespace of who writes
    command = ["nsenter", "-t", str(host.leader), "-p", "--", "python3", "-c", _AGAIN, str(pid)]
    subprocess.run(command, check=True, timeout=30, stdin=subprocess.DEVNULL)


def gone(host: Host, owner: Spawned) -> int:
    """Kill it; its pid, which is free then."""
    owner.signal("KILL")
    owner.wait()
    host.wait_for(lambda: host.run(["test", "-e", f"/proc/{owner.pid}"], check=False).returncode)
    return owner.pid


@pytest.mark.parametrize("how", ["stopped", "killed", "down"])
def test_tasks_end_with_their_process_and_not_with_its_pid(host: Host, how: str) -> None:
    """While the agent looks away, dies, or is not there."""
    owner = sleeper(host)
    request(host, owner)
    start(host, owner, "voip")
    assert len(host.locks()) == 2
    main = main_pid(host, SERVICE)
    if how == "down":
        host.systemctl("stop", SERVICE)
    else:
        host.run(["kill", "-STOP", main])
    pid = gone(host, owner)
    again(host, pid)
    before = host.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout
    if how == "stopped":
        host.run(["kill", "-CONT", main])
    elif how == "killed":
        host.run(["kill", "-KILL", main])
        host.wait_for(lambda: host.show(SERVICE, "MainPID") not in ("0", main))
        host.wait_active()
    else:
        host.systemctl("start", SERVICE)
    host.wait_for(lambda: host.locks() == [])
    assert host.run(["cat", f"/proc/{pid}/oom_score_adj"]).stdout == before
    assert "sleep" in host.run(["cat", f"/proc/{pid}/comm"]).stdout
    host.run(["kill", "-KILL", str(pid)])
