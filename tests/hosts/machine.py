# SPDX-License-Identifier: Apache-2.0
"""Class Host: a booted Debian host that has the package installed, and what tests do in it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hosts.battery import PowerSupplies
from hosts.boot import Boot
from hosts.lan import Lan
from hosts.spawned import Spawned

MANAGER = ("org.missiond.Agent1", "/org/missiond/Agent1")
TASKS = "org.missiond.Agent1.BackgroundTaskManager"
_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Inhibitor(NamedTuple):
    """One line of logind's ListInhibitors."""

    what: str
    who: str
    why: str
    mode: str
    uid: int
    pid: int


class Host:
    """A host from power-on to power-off.  Use it as a context manager, or close() it.

    `power` is what the host sees as its power supplies; `lan` is a network that it shares with others.
    Commands run as root unless `user` names another (alice and bob exist).  They keep the control group of
    the test; a client that needs one of its own is started with `systemd_run()`.
    """

    slower = 1.0
    """How many times as long it may take as a host with this machine's processor."""

    def __init__(
        self,
        tree: Path,
        *,
        options: list[str] | None = None,
        lan: Lan | None = None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            self.power = PowerSupplies()
            stack.callback(self.power.close)
            extra = [f"--bind={self.power.directory}:/mnt/power_supply", *(options or [])]
            if lan is not None:
                extra += lan.options()
            self._boot = Boot(tree, extra, lan.environment if lan is not None else None)
            stack.callback(self._boot.close)
            self._spawned: list[Spawned] = []
            stack.callback(self.end_spawned)
            self.run(["systemctl", "is-system-running", "--wait"], check=False, timeout=60)
            self._stack = stack.pop_all()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Its host name."""
        return self._boot.name

    def close(self) -> None:
        """End what was spawned, then the host."""
        self._stack.close()

    def end_spawned(self) -> None:
        """End everything that was spawned so far."""
        for process in self._spawned:
            process.close()
        self._spawned.clear()

    @property
    def leader(self) -> int:
        """PID 1 of the host, as this machine numbers it."""
        assert self._boot.leader is not None
        return self._boot.leader

    def has(self, pid: int) -> bool:
        """Whether this process, by its pid in this machine, runs in the host."""
        spaces = [Path(f"/proc/{each}/ns/pid").readlink() for each in (pid, self._boot.leader)]
        return spaces[0] == spaces[1]

    # Commands

    def enter(self, command: list[str], user: str | None = None) -> list[str]:
        """Return the command line that runs a command inside the host."""
        become = [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        home = "/root" if user is None else f"/home/{user}"
        environment = ["env", "-i", f"PATH={_PATH}", "LANG=C.UTF-8", f"HOME={home}"]
        return ["nsenter", "-t", str(self._boot.leader), "-a", *environment, *become, *command]

    def run(
        self,
        command: list[str],
        *,
        user: str | None = None,
        check: bool = True,
        timeout: float = 30.0,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, output captured; raises with that output when it fails (check)."""
        done = subprocess.run(
            self.enter(command, user),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command} exited {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def spawn(self, command: list[str], *, user: str | None = None) -> Spawned:
        """Start a command in the background; it is ended with the host at the latest."""
        process = Spawned(self, self.enter(["sh", "-c", 'echo $$; exec "$@"', "sh", *command], user))
        self._spawned.append(process)
        return process

    def python(self, program: str, *arguments: str, user: str | None = None) -> str:
        """Run a Python program with the host's own python3 and return what it prints."""
        return self.run(["python3", "-", *arguments], user=user, stdin=program).stdout

    def systemd_run(self, unit: str, command: list[str], *, user: str = "root", session: bool = False) -> int:
        """Start a command as a unit (or scope) of systemd, so that it has a control group; return its pid.

        session: with a login session of logind's, as a user at the machine has one.
        """
        extra = ["--property=PAMName=login"] if session else []
        options = ["--quiet", "--collect", f"--unit={unit}", f"--uid={user}", *extra]
        self.run(["systemd-run", *options, "--", *command])
        return int(self.show(unit, "MainPID"))

    # systemd

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """Run systemctl and return its output."""
        return self.run(["systemctl", "--no-pager", *arguments], check=check, timeout=90).stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """Return one property of a unit."""
        return self.systemctl("show", f"--property={name}", "--value", unit)

    def journal(self, unit: str | None = None, *arguments: str) -> str:
        """Return the messages of a unit, or of the whole host."""
        of_unit = [] if unit is None else [f"--unit={unit}"]
        return self.run(["journalctl", "--no-pager", "--output=cat", *of_unit, *arguments]).stdout

    def wait_active(self, unit: str = "missiond.service", timeout: float = 30.0) -> None:
        """Wait until a unit has come up, or say what its journal says."""
        try:
            self.wait_for(lambda: self.show(unit, "ActiveState") == "active", timeout)
        except TimeoutError:
            raise AssertionError(f"{unit} is not active:\n{self.journal(unit)}") from None

    @staticmethod
    def wait_for(condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Look at a condition until it holds; TimeoutError when it does not in time.

        20 times a second, and less often the longer it takes: each look is a program that the host runs.
        """
        begun = time.monotonic()
        while not condition():
            waited = time.monotonic() - begun
            if waited > timeout:
                raise TimeoutError
            time.sleep(min(max(0.05, waited / 10), 0.5))

    # D-Bus

    def busctl(
        self, *arguments: str, user: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run busctl on the host's system bus."""
        return self.run(["busctl", "--system", "--no-pager", *arguments], user=user, check=check)

    def call(self, *arguments: str, user: str | None = None) -> list[Any]:
        """Call a method (destination, path, interface, member, signature, values…); return its reply."""
        reply = self.busctl("--json=short", "call", *arguments, user=user).stdout.strip()
        values: list[Any] = json.loads(reply)["data"] if reply else []
        return values

    def tasks(self, member: str, *arguments: str, user: str | None = None) -> list[Any]:
        """Call a method of the BackgroundTaskManager and return the reply's values."""
        return self.call(*MANAGER, TASKS, member, *arguments, user=user)

    def inhibitors(self) -> list[Inhibitor]:
        """Return logind's inhibitors, the agent's and all others."""
        (rows,) = self.call(*_LOGIND, "ListInhibitors")
        return [Inhibitor(*row) for row in rows]

    def locks(self) -> list[Inhibitor]:
        """Return the block locks that the agent holds."""
        uid = int(self.run(["id", "-u", "missiond"]).stdout)
        return [row for row in self.inhibitors() if row.mode == "block" and row.uid == uid]

    # Power

    def power_event(self, supply: str = "BAT0", action: str = "change") -> None:
        """Tell the host, as udev would, that a power supply has changed."""
        program = (Path(__file__).parent / "udev_event.py").read_text()
        self.python(program, action, "power_supply", f"/devices/test/power_supply/{supply}")


@contextlib.contextmanager
def described(host: Host) -> Iterator[None]:
    """On an error, add what the daemon and the bus said last."""
    try:
        yield
    except BaseException as error:
        error.add_note(host.journal("missiond.service", "--lines=60"))
        raise
