# SPDX-License-Identifier: Apache-2.0
"""missionctl run --keep-alive=restart: the command as a service with Restart=always.

The service is a transient one of the own manager of the user (root: of the system), with Restart=always. The
task belongs to it, and ends when it is stopped.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from missiond.cli.exit_codes import CommandError, Exit
from missiond.cli.parser.values import any_text, is_text
from missiond.cli.stdio import complain
from missiond.cli.url_quote import quote

PREFIX = "missiond-run-"
RESTART = {
    "Restart": "always",
    "RestartSec": "1s",
    "StartLimitIntervalSec": "1min",
    "StartLimitBurst": "5",
}
"""Restart settings: five starts in a minute are allowed, so a failing command is given up in seconds."""

_TIMEOUT = 60
_CHDIR, _EXEC = "200", "203"
"""Exit statuses before the command runs, see systemd.exec(5)."""


class KeptServiceManager:
    """Caller's service manager, used through systemd's own tools; all raise CommandError."""

    def __init__(self) -> None:
        self.options = [] if os.geteuid() == 0 else ["--user"]
        self.environment = os.environ | {}
        self.environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")

    def command(self, tool: str, *arguments: str) -> str:
        """Return a command line for people."""
        return " ".join([tool, *self.options, *arguments])

    def show(self, unit: str) -> dict[str, str]:
        """State, main process, and how the last one ended."""
        names = "LoadState,ActiveState,MainPID,ExecMainStatus"
        shown = self._run("systemctl", "show", f"--property={names}", "--", unit)
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def free(self, unit: str) -> None:
        """Check for a service of the same name, and reset a failed one."""
        state = self.show(unit)
        if state["ActiveState"] == "failed":
            self._run("systemctl", "reset-failed", "--", unit)
        elif (state["LoadState"], state["ActiveState"]) != ("not-found", "inactive"):
            remedy = f"`{self.command('systemctl', 'stop', unit)}`, or use another name"
            raise CommandError(Exit.NOT_STARTED, f"{unit} is in use already; end it with {remedy}")

    def start(self, unit: str, command: list[str], title: str) -> int:
        """Start the command and return the main pid; a failed start leaves no service."""
        options = [
            "--quiet",
            f"--unit={unit}",
            f"--description={title}",
            "--service-type=exec",
            "--same-dir",
            f"--property=UMask={_umask():04o}",
            *(f"--property={name}={value}" for name, value in RESTART.items()),
            *(f"--setenv={name}" for name in ("PATH", "LANG") if name in os.environ),
        ]
        try:
            self._run("systemd-run", *options, *self._unchanged(command))
        except CommandError as error:
            raise self._given_up(unit, command[0]) or error from None
        pid = int(self.show(unit)["MainPID"])
        if not pid:
            self.stop(unit)
            said = self.command("journalctl", "-u", unit)
            raise CommandError(Exit.NOT_STARTED, f"{command[0]} ended at once; see `{said}`")
        return pid

    def _given_up(self, unit: str, program: str) -> CommandError | None:
        """Why systemd did not come as far as the command; None where it has made no service."""
        state = self.show(unit)
        if state["ActiveState"] not in ("activating", "failed"):
            return None
        self.stop(unit)
        status = state.get("ExecMainStatus", "")
        if status == _CHDIR:
            text = f"the service manager can't enter {os.getcwd()}; change to another directory"  # noqa: PTH109
            return CommandError(Exit.NOT_STARTED, text)
        if status == _EXEC:
            text = f"the service manager can't execute {program}; is it a program that it can read?"
            return CommandError(Exit.NOT_EXECUTABLE, text)
        said = self.command("journalctl", "-u", unit)
        return CommandError(Exit.NOT_STARTED, f"{unit} can't be started (status {status}); see `{said}`")

    def _unchanged(self, command: list[str]) -> list[str]:
        """Return the command protected from variable expansion and from a reload of the manager.

        systemd before 254 can't be told to, and reads ; and $ of transient services back as something else.
        """
        if not all(map(is_text, command)):  # D-Bus has no other texts
            return self._quoted(command)
        version = re.match(r"systemd (\d+)", self._run("systemctl", "--version"))
        if version is not None and int(version[1]) >= 254:
            return ["--expand-environment=no", "--", *command]
        if any(char in argument for argument in command for char in ";$"):
            return self._quoted(command)
        return ["--", *command]

    @staticmethod
    def _quoted(command: list[str]) -> list[str]:
        return ["--", sys.executable, "-I", "-m", "missiond.cli.url_quote", *map(quote, command)]

    def stop(self, unit: str) -> None:
        """Stop a service, and reset a failed one."""
        self._run("systemctl", "stop", "--", unit)
        if self.show(unit)["ActiveState"] == "failed":
            self._run("systemctl", "reset-failed", "--", unit)

    def _run(self, tool: str, *arguments: str) -> str:
        command = [tool, *self.options, *arguments]
        try:
            done = subprocess.run(  # noqa: S603 - the caller's own tools, with the caller's rights
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                env=self.environment,
                timeout=_TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CommandError(Exit.NOT_STARTED, f"{tool} can't be used: {error}") from error
        if done.returncode:
            text = " ".join(done.stderr.split()) or f"{tool} failed"
            if self.options and "onnect to" in text:
                text += "; log in, or have root call `loginctl enable-linger` for you"
            raise CommandError(Exit.NOT_STARTED, text)
        return done.stdout


def main(arguments: argparse.Namespace, program: str, hold: Callable[[int], str]) -> int:
    """Start the service and a task; `hold` gets the task for a process and raises CommandError."""
    unit = f"{PREFIX}{arguments.name}.service"
    command = [os.path.abspath(program), *arguments.command[1:]]  # noqa: PTH100 (links stay as they are)
    _check_directory()
    manager = KeptServiceManager()
    manager.free(unit)
    pid = manager.start(unit, command, arguments.title or any_text(Path(program).name))
    try:
        warning = hold(pid)
    except BaseException:
        manager.stop(unit)
        raise
    if warning:
        complain(f"warning: nothing keeps this host awake for {unit}: {warning}")
    sys.stdout.write(
        f"{unit}\n"
        f"its output: {manager.command('journalctl', '-u', unit)}\n"
        f"to end it:  {manager.command('systemctl', 'stop', unit)}\n"
    )
    return Exit.OK


def _check_directory() -> None:
    """Raise CommandError where systemd can't have a service in this directory."""
    remedy = "change to another directory"
    try:
        directory = os.getcwd()  # noqa: PTH109 (as text that is not made over)
    except OSError as error:
        text = f"the directory can't be used ({error.strerror}); {remedy}"
        raise CommandError(Exit.NOT_STARTED, text) from None
    if not is_text(directory):
        text = f"the name of the directory is no Unicode text, which systemd does not take; {remedy}"
        raise CommandError(Exit.NOT_STARTED, text)


def _umask() -> int:
    """Return the umask of this process, so that a service's files are as private as those of its shell."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
