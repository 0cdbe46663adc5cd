# SPDX-License-Identifier: Apache-2.0
"""The application of a program started by a message bus, from the bus's service files.

dbus-daemon(1) starts what is asked for by name, as NAME.service says (D-Bus Specification, "Message Bus
Starting Services"), and keeps it in its own control group. Names of applications have a .desktop file; those
of other services have none.
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from missiond.host.users import desktop_entries

_DIRECTORIES = (
    Path("/usr/local/share/dbus-1/services"),
    Path("/usr/share/dbus-1/services"),
    Path("/var/lib/flatpak/exports/share/dbus-1/services"),
)
_GROUP = "D-BUS Service"
_SUFFIX = ".service"
_INTERPRETERS = 2
"""Words that the kernel puts before a script: what runs it, and an option of that (execve(2))."""


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: tuple[int, ...]
    commands: dict[str, list[str]]


class BusServices:
    """The applications among the services of the bus; read anew when a directory has changed."""

    def __init__(self, directories: Iterable[Path] = _DIRECTORIES) -> None:
        self._directories = tuple(directories)
        self._known = _Known((), {})

    def application(self, argv: Sequence[bytes]) -> str | None:
        """Name the application started with this command line; None where there is none."""
        words = [os.fsdecode(word) for word in argv]
        started: list[str] = []
        for name, command in self._commands().items():
            for skipped in range(min(_INTERPRETERS, len(words)) + 1):
                if words[skipped:] == command:
                    return name
                if words[skipped : skipped + 1] == command[:1]:
                    started.append(name)
        return started[0] if len(started) == 1 else None

    def _commands(self) -> dict[str, list[str]]:
        stamp = tuple(map(_changed, self._directories))
        if stamp != self._known.stamp:
            commands: dict[str, list[str]] = {}
            for directory in reversed(self._directories):
                commands |= _applications(directory)
            self._known = _Known(stamp, commands)
        return self._known.commands


def _changed(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return 0


def _applications(directory: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        names = [entry.name for entry in os.scandir(directory) if entry.name.endswith(_SUFFIX)]
    except OSError:
        return {}
    for file in names:
        name = file.removesuffix(_SUFFIX)
        entry = desktop_entries.find(name)
        if entry is not None and entry.is_application:
            command = _command(directory / file)
            if command:
                found[name] = command
    return found


def _command(path: Path) -> list[str]:
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False, interpolation=None)
    try:
        parser.read_string(desktop_entries.read(path).decode("utf-8", "replace"))
        return shlex.split(parser.get(_GROUP, "Exec"))
    except (OSError, ValueError, configparser.Error):
        return []
