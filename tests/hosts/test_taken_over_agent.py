# SPDX-License-Identifier: Apache-2.0
"""What somebody can't do who has taken over the agent: as its user, straight at the helper and the files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hosts.machine import Host
from hosts.people import Terminal

ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as helper:
    helper.connect("/run/missiond-helper.socket")
    helper.send(sys.argv[1].encode())
    print(helper.recv(4400).decode())
"""
CONFIG = "/run/missiond/missiond.conf.d"


def _ask(host: Host, request: str) -> str:
    return host.python(ASK, request, user="missiond").strip()


def _inode(host: Host, cgroup: str) -> str:
    return host.run(["stat", "--format=%i", f"/sys/fs/cgroup/{cgroup}"]).stdout.strip()


def _cgroup(host: Host, pid: int) -> str:
    lines = host.run(["cat", f"/proc/{pid}/cgroup"]).stdout.splitlines()
    return next(line.removeprefix("0::/") for line in lines if line.startswith("0::/"))


def _start(host: Host, pid: int) -> str:
    return host.run(["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()[19]


@pytest.fixture(scope="module")
def manager(host: Host) -> Iterator[int]:
    """Alice's service manager, while she is logged in; its pid."""
    with_terminal = Terminal(host, "taken")
    host.wait_active("user@1000.service")
    yield int(host.show("user@1000.service", "MainPID"))
    with_terminal.type("exit\n")
    host.systemctl("stop", "terminal-taken.service", check=False)


def test_users_managers_are_out_of_reach(host: Host, manager: int) -> None:
    """As a cgroup and as processes: with the manager goes all that the user has."""
    path = "user.slice/user-1000.slice/user@1000.service/init.scope"
    assert _cgroup(host, manager) == path
    for group in (path, path.rpartition("/")[0]):
        assert _ask(host, f"kill {_inode(host, group)} {group}") == "no EINVAL"
    for request in ("signal {} {} KILL", "signal {} {} TERM", "adjust {} {} 100 200"):
        assert _ask(host, request.format(manager, _start(host, manager))) == "no EPERM"
    assert host.show("user@1000.service", "ActiveState") == "active"


def test_sessions_are_not_killed(host: Host, manager: int) -> None:
    """Sudo and sshd have processes of root in them."""
    scopes = host.run(["find", "/sys/fs/cgroup/user.slice", "-name", "session-*.scope"]).stdout.split()
    assert scopes
    for scope in scopes:
        path = scope.removeprefix("/sys/fs/cgroup/")
        assert _ask(host, f"kill {_inode(host, path)} {path}") == "no EINVAL"
        assert host.run(["cat", f"{scope}/cgroup.procs"]).stdout


def test_roots_slice_is_out_of_reach(host: Host) -> None:
    """As root's processes are."""
    host.run(["mkdir", "-p", "/sys/fs/cgroup/user.slice/user-0.slice/test.scope"])
    path = "user.slice/user-0.slice/test.scope"
    try:
        for verb in ("kill", "thaw"):
            assert _ask(host, f"{verb} {_inode(host, path)} {path}") == "no EINVAL"
    finally:
        host.run(["rmdir", f"/sys/fs/cgroup/{path}"])


def test_the_agents_user_does_not_configure_missiond_peers(host: Host) -> None:
    """The directory is that user's own; what root puts there counts."""
    text = "[Peers]\nPort=8700\n[Limits]\nMaxTasks=7\n"
    host.run(["mkdir", CONFIG], user="missiond")
    host.run(["tee", f"{CONFIG}/99.conf"], user="missiond", stdin=text)
    try:
        host.systemctl("start", "missiond-peers.service")
        host.wait_active("missiond-peers.service")
        listening = host.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout
        assert (":21BD " in listening, ":21FC " in listening) == (True, False)  # 8637 and 8700
        assert f"{CONFIG}: ignored: not root's alone" in host.journal("missiond-peers.service")
        host.run(["rm", "-r", CONFIG])
        host.run(["mkdir", CONFIG])
        host.run(["tee", f"{CONFIG}/99.conf"], stdin=text)
        host.systemctl("restart", "missiond-peers.service")
        host.wait_active("missiond-peers.service")
        assert ":21FC " in host.run(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).stdout
    finally:
        host.run(["rm", "-rf", CONFIG])
        host.systemctl("stop", "missiond-peers.service")


def test_who_may_not_log_in_is_not_logged_in(host: Host) -> None:
    """An expired account gets no session by way of what holds logins."""
    host.run(["chage", "--expiredate", "0", "bob"])
    try:
        host.run(["systemctl", "start", "missiond-keep@1001.service"], user="missiond", check=False)
        host.wait_for(lambda: host.show("missiond-session@1001.service", "Result") == "exit-code")
        assert "bob" not in host.run(["loginctl", "list-sessions"]).stdout
        host.systemctl("stop", "missiond-keep@1001.service")
        host.run(["chage", "--expiredate", "-1", "bob"])
        host.run(["systemctl", "start", "missiond-keep@1001.service"], user="missiond")
        host.wait_for(lambda: "bob" in host.run(["loginctl", "list-sessions"]).stdout)
    finally:
        host.run(["chage", "--expiredate", "-1", "bob"])
        host.systemctl("stop", "missiond-keep@1001.service")
        host.systemctl("reset-failed")
