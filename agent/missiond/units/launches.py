# SPDX-License-Identifier: Apache-2.0
"""Starts and stops of missions as units of the user's manager, after a check.

All of it is done by the user's own process: what the user may not, it may not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from missiond.core.launch.description import LaunchDescription
from missiond.core.launch.unit import transfer_of, typed_properties
from missiond.units.requests import GO, READY, Order
from missiond.units.state_files import PLACE, HandedFiles
from missiond.units.user_manager import UserManager

START_TIMEOUT, STOP_TIMEOUT, CHECK_TIMEOUT = 30.0, 50.0, 15.0
"""Seconds; missiond-units is given a minute for a question."""
PREPARED_TIMEOUT = 50.0
"""The same, with the wait for the word."""
HOLD = 20.0
"""Seconds to wait for the word; together with the start, less than the limit of missiond-units."""

_CHDIR = 200
"""Exit status where the working directory can't be had (systemd.exec(5), "Process Exit Codes")."""
_ENVIRONMENT = {"state": "MISSIOND_STATE_FILE", "want_param": "MISSIOND_WANT_PARAM_FILE"}
_WORD = re.compile(r"[a-z0-9-]{0,40}", re.ASCII)
_TEST = "/usr/bin/test"


class Launches:
    """Starts and stops in the name of the user of this process."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime

    def start(
        self, unit: str, what: LaunchDescription, files: Sequence[tuple[str, int, int]], origin: str
    ) -> str:
        """Start a unit, wait for the program to run, and return the result as lines. Raises OSError.

        `files` are name, descriptor and size of each file for the mission. A running unit of that name is
        left alone: the question was asked before.
        """
        transfer = _transfer(unit)
        handed = HandedFiles(self._runtime, transfer)
        with UserManager(self._runtime, START_TIMEOUT) as manager:
            return _start(manager, unit, what, handed, origin, lambda: handed.place(_contents(files)))

    @contextlib.contextmanager
    def prepared(
        self, unit: str, what: LaunchDescription, files: Sequence[tuple[str, int, int]], origin: str
    ) -> Iterator[Callable[[], str]]:
        """Do all of `start` possible before the word, and give a function for the rest. Raises OSError.

        Until then the files are beside the place where units look for them, and go with the block.
        """
        handed = HandedFiles(self._runtime, _transfer(unit))
        with UserManager(self._runtime, PREPARED_TIMEOUT) as manager:
            paths = handed.stage(_contents(files))

            def settled() -> dict[str, Path]:
                handed.settle()
                return paths

            try:
                yield lambda: _start(manager, unit, what, handed, origin, settled)
            finally:
                handed.unstage()

    def serve_prepared(
        self, connection: socket.socket, unit: str, order: Order, files: Sequence[tuple[str, int, int]]
    ) -> str | None:
        """Prepare a start, tell `connection`, and carry the start out at the word; None without a word.

        All that is slow is done before the mission stops elsewhere. Nothing is started before the word, nor
        after HOLD or the end of the connection; then nothing is left. Raises OSError.
        """
        signal.signal(signal.SIGTERM, _leave)
        with self.prepared(unit, order.what, files, order.origin) as start:
            connection.send(READY)
            connection.settimeout(HOLD)
            try:
                word = connection.recv(len(GO) + 1)
            except OSError:  # too late, or nobody is there
                return None
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            return start() if word == GO else None

    def stop(self, unit: str) -> str:
        """Stop a service, and wait for the end of the last process. Raises OSError."""
        with UserManager(self._runtime, STOP_TIMEOUT) as manager:
            return f"Job={_word(manager.stop(unit))}\n"

    def ended(self, unit: str) -> str:
        """Return facts on the end of a mission's unit, and have the manager forget the unit. Raises OSError.

        The failure was told to whoever had the unit started, and is no longer listed.
        """
        with UserManager(self._runtime, CHECK_TIMEOUT) as manager:
            shown = manager.show(unit)
            manager.forget_failed(unit)
            return _lines(shown)

    def check(self, unit: str, what: LaunchDescription) -> str:
        """Look whether directory and program are there for this user, in a unit of the user's.

        Lines: `Cwd=` and `Executable=`, yes or no, and `Free=`, bytes for what is handed. Raises OSError.
        """
        transfer = _transfer(unit)
        space = os.statvfs(self._runtime)
        if not space.f_bavail or (space.f_files and not space.f_favail):
            raise OSError(errno.ENOSPC, f"{self._runtime} is full")  # its manager would refuse in other words
        probe = f"missiond-check-{transfer}.service"
        with UserManager(self._runtime, CHECK_TIMEOUT) as manager:
            manager.forget_failed(probe)
            result = manager.start_transient(probe, _probe(what))
            status = 0 if result == "done" else int(manager.show(probe).get("ExecMainStatus", -1))
            manager.forget_failed(probe)
        free = space.f_bavail * space.f_frsize
        return (
            f"Cwd={'no' if status == _CHDIR else 'yes'}\n"
            f"Executable={'yes' if status in (0, _CHDIR) else 'no'}\nFree={free}\n"
        )


def _start(
    manager: UserManager,
    unit: str,
    what: LaunchDescription,
    handed: HandedFiles,
    origin: str,
    place: Callable[[], dict[str, Path]],
) -> str:
    before = manager.show(unit)
    if before.get("ActiveState") in ("active", "activating", "reloading"):
        return _lines(before)
    manager.forget_failed(unit)
    given = [f"{_ENVIRONMENT[name]}={path}" for name, path in place().items()]
    if origin:
        given.append(f"MISSIOND_CONTINUED_FROM={origin}")
    try:
        result = manager.start_transient(unit, _properties(what, _transfer(unit), given))
        shown = manager.show(unit)
    except BaseException:
        handed.remove()
        raise
    if result != "done":
        manager.forget_failed(unit)
        handed.remove()
    return _lines(shown | {"Job": result})


def _transfer(unit: str) -> str:
    transfer = transfer_of(unit)
    if transfer is None:
        raise OSError(errno.EINVAL, f"{unit} is no unit for a mission")
    return transfer


def _contents(files: Sequence[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    return {name: (fd, size) for name, fd, size in files}


def _command(*words: str) -> tuple[str, list[str], list[str]]:
    """Never with anything put in place of variables."""
    return words[0], list(words), ["no-env-expand"]


def _probe(what: LaunchDescription) -> list[tuple[str, str, object]]:
    commands = [_command(_TEST, "-f", what.executable), _command(_TEST, "-x", what.executable)]
    return [
        ("Description", "s", "Whether a mission could go on here"),
        ("Type", "s", "oneshot"),
        ("WorkingDirectory", "s", what.cwd or "~"),
        ("ExecStartEx", "a(sasas)", commands),
        ("StandardOutput", "s", "null"),
        ("StandardError", "s", "null"),
    ]


def _properties(what: LaunchDescription, transfer: str, given: list[str]) -> list[tuple[str, str, object]]:
    found: list[tuple[str, str, object]] = [
        ("Description", "s", _one_line(what.label) or Path(what.executable).name),
        ("Slice", "s", "app.slice"),
        ("Type", "s", "exec"),
        ("KillMode", "s", "control-group"),
        ("WorkingDirectory", "s", what.cwd or "~"),
        ("Environment", "as", [*what.environment, *given]),
        ("RuntimeDirectory", "as", [f"{PLACE}/{transfer}"]),
        ("RuntimeDirectoryMode", "u", 0o700),
        ("ExecStartEx", "a(sasas)", [_command(*what.argv)]),
        *typed_properties(what.properties),
    ]
    if what.state_directory is not None:
        found.append(("StateDirectory", "as", [what.state_directory]))
    if what.umask is not None:
        found.append(("UMask", "u", what.umask))
        found.append(("StateDirectoryMode", "u", 0o755 & ~what.umask))
    return found


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _lines(shown: dict[str, Any]) -> str:
    """Return systemd's words on a unit as lines."""
    job = shown.get("Job")  # as systemd has it, a pair
    said = {name: _word(str(shown.get(name, ""))) for name in ("ActiveState", "Result")}
    said["Job"] = _word(job) if isinstance(job, str) else "done"
    numbers = {name: int(shown.get(name, 0)) for name in ("MainPID", "ExecMainCode", "ExecMainStatus")}
    return "".join(f"{name}={value}\n" for name, value in {**said, **numbers}.items())


def _word(text: str) -> str:
    return text if _WORD.fullmatch(text) else ""


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End, and tidy up on the way."""
    sys.exit(0)
