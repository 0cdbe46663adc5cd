# SPDX-License-Identifier: Apache-2.0
"""The installed missionctl in the states in which daemons, sandboxes and other Pythons call it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hosts.client import sleeper

if TYPE_CHECKING:
    from hosts.machine import Host

_ASKED = """
import os, sys, termios, time
pid, terminal = os.forkpty()
if pid == 0:
    os.execvp("missionctl", ["missionctl", *sys.argv[2:]])
shown, told = b"", False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    shown += piece
    if b"assword:" in shown and not told:
        told = True
        # what is typed before the echo is off is thrown away
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(terminal, sys.argv[1].encode() + b"\\n")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(status, told, repr(shown.decode()))
"""

_OPEN = """
for fd in 0 1 2 3 4 5 6 7 8 9; do
    [ -e /proc/$$/fd/$fd ] && seen="$seen $fd"
done
echo "$seen" >/tmp/seen
exit 7
"""


def sh(host: Host, line: str, user: str | None = "alice", **options: Any) -> str:
    """Run a line of shell; what it prints, errors as well."""
    done = host.run(["sh", "-c", line], user=user, check=False, **options)
    return done.stdout + done.stderr


def tasks(host: Host) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(host.run(["missionctl", "tasks", "--json"]).stdout)
    return found


@contextmanager
def stopped(host: Host) -> Iterator[None]:
    """The agent hangs."""
    pid = host.show("missiond.service", "MainPID")
    host.run(["kill", "-STOP", pid])
    try:
        yield
    finally:
        host.run(["kill", "-CONT", pid])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(host: Host, closed: str) -> None:
    host.run(["tee", "/tmp/look"], stdin=_OPEN)
    through = sh(host, f"missionctl run -- sh /tmp/look {closed}; echo $?")
    seen = sh(host, "cat /tmp/seen; rm /tmp/seen")
    assert through == "7\n"
    sh(host, f"sh /tmp/look {closed}")
    assert seen == sh(host, "cat /tmp/seen; rm /tmp/seen")
    assert sh(host, f"missionctl tasks {closed} >/dev/null; echo $?").endswith("0\n")


@pytest.mark.parametrize(
    "before",
    [
        "PYTHONHOME=/opt/other",
        "PYTHONPATH=/tmp/foreign",
        "PYTHONSTARTUP=/tmp/foreign/signal.py PYTHONWARNINGS=error PYTHONUTF8=0 PYTHONSAFEPATH=",
        "PYTHONINSPECT=1 PYTHONVERBOSE=1",
        "VIRTUAL_ENV=/tmp/foreign PATH=/tmp/foreign:$PATH",
    ],
)
def test_other_pythons(host: Host, before: str) -> None:
    sh(host, "mkdir -p /tmp/foreign && echo 'raise SystemExit(\"mine\")' >/tmp/foreign/signal.py")
    sh(host, "cp /tmp/foreign/signal.py /tmp/foreign/sitecustomize.py")
    sh(host, "printf '#!/bin/sh\\nexit 99\\n' >/tmp/foreign/python3; chmod +x /tmp/foreign/python3")
    packages = (
        "~/.local/lib/python3.$(/usr/bin/python3 -c 'import sys; print(sys.version_info[1])')/site-packages"
    )
    sh(host, f"mkdir -p {packages} && cp /tmp/foreign/signal.py {packages}/dbus_next.py")
    try:
        assert sh(host, f"{before} missionctl run -- sh -c 'echo hello'") == "hello\n"
        alone = sh(host, f"{before} env | grep -v ^_= | sort")
        assert sh(host, f"{before} missionctl run -- env | grep -v ^_= | sort") == alone
        assert sh(host, f"{before} missionctl version").startswith("missionctl ")
    finally:
        sh(host, "rm -rf ~/.local /tmp/foreign")


@pytest.mark.parametrize(
    "before",
    [
        "",
        "trap '' PIPE;",
        "trap '' PIPE XFSZ; exec",
        "exec env --ignore-signal=PIPE",
        "exec env --block-signal=USR1",
    ],
)
def test_signals_are_as_the_caller_had_them(host: Host, before: str) -> None:
    look = "grep -E '^Sig(Ign|Blk)' /proc/self/status"
    assert sh(host, f"{before} missionctl run -- {look}") == sh(host, f"{before} {look}")


@pytest.mark.parametrize("ignored", ["yes", "no"])
def test_signals_in_a_service(host: Host, ignored: str) -> None:
    look = ["grep", "^SigIgn", "/proc/self/status"]
    service = ["systemd-run", "--quiet", "--wait", "--pipe", "-pUser=alice", f"-pIgnoreSIGPIPE={ignored}"]
    assert host.run([*service, "missionctl", "run", "--", *look]).stdout == host.run([*service, *look]).stdout


def test_a_character_that_the_terminal_lacks(host: Host) -> None:
    bobs = host.spawn(["missionctl", "run", "--title", "photos → nas", "--", "sleep", "600"], user="bob")
    host.wait_for(lambda: tasks(host))
    for locale in ("en_US.ISO-8859-1", "C", "POSIX"):
        # root is shown titles of others
        assert "photos" in sh(host, f"LC_ALL={locale} missionctl tasks", None)
        [listed] = json.loads(sh(host, f"LC_ALL={locale} missionctl tasks --json", None))
        assert listed["title"] == "photos → nas"
    bobs.signal("KILL")
    host.wait_for(lambda: not tasks(host))


def test_in_a_pid_namespace(host: Host) -> None:
    """Its own task, though processes of the same numbers are alice's out here."""
    line = "missionctl delay --for 20s; exec missionctl run -- sleep 600"
    inside = ["unshare", "--fork", "--pid", "--mount-proc", "runuser", "-u", "alice", "--", "sh", "-c", line]
    others = [sleeper(host) for _ in range(5)]
    program = host.spawn(inside)
    host.wait_for(lambda: len(tasks(host)) == 2)
    owners = [task["pid"] for task in tasks(host)]
    # the shell, which becomes missionctl, which becomes sleep
    assert owners[0] == owners[1]
    assert host.run(["ps", "-o", "user=,args=", "-p", str(owners[0])]).stdout.split() == [
        "alice",
        "sleep",
        "600",
    ]
    host.run(["kill", str(owners[0])])
    program.wait()
    host.wait_for(lambda: not tasks(host))
    for other in others:
        other.signal("KILL")


def test_services_with_pids_of_their_own(host: Host, suite: str) -> None:
    if suite == "bookworm":
        pytest.skip("PrivatePIDs= came with systemd 257")
    service = ["systemd-run", "--quiet", "--wait", "--pipe", "-pUser=alice", "-pPrivatePIDs=yes"]
    listed = host.run([*service, "missionctl", "run", "--", "missionctl", "tasks", "--json"]).stdout
    [task] = json.loads(listed)
    assert task["modes"] == ["taskKeeping"]
    host.wait_for(lambda: not tasks(host))
    delayed = host.run([*service, "sh", "-c", "missionctl delay --for 20s; missionctl tasks"]).stdout
    assert "transient/" in delayed.splitlines()[-1]
    host.wait_for(lambda: not tasks(host))


def test_a_delay_in_a_script(host: Host) -> None:
    for line in (
        "t=$(missionctl delay --for 20s | cut -d ' ' -f 1)",
        "t=$(timeout 20 missionctl delay --for 20s); t=${t%% *}",
        "t=$(echo 20s | xargs missionctl delay --for | cut -d ' ' -f 1)",
    ):
        for shell in ("bash", "dash"):
            host.run(
                ["tee", "/tmp/script"], stdin=f'{line}\nmissionctl tasks\nmissionctl cancel "$t" && echo ok\n'
            )
            assert sh(host, f"{shell} /tmp/script").endswith("ok\n")


def test_a_hung_agent(host: Host) -> None:
    """2, 5 and about 6 seconds, and what a busy machine adds; it was 25."""
    for line, seconds in (("run --", 10), ("run --require --", 13), ("tasks ||", 15)):
        with stopped(host):
            begun = time.monotonic()
            said = sh(host, f"missionctl {line} echo ran", timeout=60)
            assert time.monotonic() - begun < seconds
        assert "restart the agent with `systemctl restart missiond`" in said
        assert ("ran\n" in said) == ("require" not in line)


def test_a_masked_unit(host: Host) -> None:
    host.systemctl("mask", "--now", "--runtime", "missiond.service")
    try:
        assert "unmask the agent with `systemctl unmask missiond`" in sh(host, "missionctl status")
        assert sh(host, "missionctl run -- echo ran").startswith("ran\n")
    finally:
        host.systemctl("unmask", "--runtime", "missiond.service")
        host.systemctl("start", "missiond.service")
        host.wait_active()


def test_a_full_disk(host: Host) -> None:
    for verb in ("status", "tasks", "help", "version"):
        said = sh(host, f"missionctl {verb} >/dev/full; echo $?")
        assert said == "1\nmissionctl: cannot write: No space left on device\n"


@pytest.mark.parametrize("asked", [True, False])
def test_a_password_at_the_terminal(host: Host, asked: bool) -> None:
    """Alice is an administrator, but in no session that polkit trusts by itself."""
    host.run(["sh", "-c", "echo alice:wonder | chpasswd; usermod -aG sudo alice"])
    bobs = host.spawn(["missionctl", "run", "--", "sleep", "600"], user="bob")
    host.wait_for(lambda: tasks(host))
    [task] = tasks(host)
    try:
        words = ["cancel", task["task"], *([] if asked else ["--no-ask-password"])]
        status, told, shown = host.python(_ASKED, "wonder", *words, user="alice").split(" ", 2)
        assert (status, told) == (("0", "True") if asked else ("4", "False")), shown
        if not asked:
            assert "run it with sudo" in shown
        assert len(tasks(host)) == (0 if asked else 1)
        assert host.run(["pgrep", "pkttyagent"], check=False).stdout == ""
    finally:
        bobs.signal("KILL")
        host.run(["gpasswd", "-d", "alice", "sudo"])
        host.wait_for(lambda: not tasks(host))
