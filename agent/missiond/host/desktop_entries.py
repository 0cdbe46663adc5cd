# SPDX-License-Identifier: Apache-2.0
"""Names and icons of applications, from their .desktop files (Desktop Entry Specification).

The files come from packages, but a directory may hold anything: a link loop, a FIFO, gigabytes.
"""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LIMIT = 256 * 1024
"""Most bytes of a file that is looked at."""
_TEXT = 256
_DIRECTORIES = (
    Path("/usr/local/share/applications"),
    Path("/usr/share/applications"),
    Path("/var/lib/flatpak/exports/share/applications"),
    Path("/var/lib/snapd/desktop/applications"),
)
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,250}")
_GROUP = "Desktop Entry"


@dataclass(frozen=True, slots=True)
class DesktopEntry:
    """What a file says. The name is on one line and printable; an empty value is not given."""

    name: str
    icon: str
    is_terminal: bool
    """Whether it is a terminal emulator, in which people start other programs."""
    command: str = ""
    """Exec=, as it stands there; see core.launch.desktop_exec."""
    directory: str = ""
    """Path=, where the program is started."""


def find(application: str, directories: Iterable[Path] = _DIRECTORIES) -> DesktopEntry | None:
    """Look for the application of this id in the host's directories; None where no file tells of it."""
    if not _ID.fullmatch(application):
        return None
    for directory in directories:
        try:
            content = _read(directory / f"{application}.desktop")
        except OSError:
            continue
        entry = parse(content)
        if entry is not None:
            return entry
    return None


def parse(content: bytes) -> DesktopEntry | None:
    """Read one file; None where it is no desktop entry."""
    parser = configparser.RawConfigParser(
        delimiters=("=",),
        comment_prefixes=("#",),
        strict=False,
        interpolation=None,
        empty_lines_in_values=False,
    )
    try:
        parser.read_string(content.decode("utf-8", "replace"))
        values = parser[_GROUP]
    except (configparser.Error, KeyError, ValueError):
        return None
    categories = values.get("Categories", "").split(";")
    return DesktopEntry(
        _plain(values.get("Name", "")),
        _plain(values.get("Icon", "")),
        "TerminalEmulator" in categories,
        values.get("Exec", ""),
        values.get("Path", ""),
    )


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT]).strip()


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise IsADirectoryError
        content = os.read(fd, LIMIT + 1)
    finally:
        os.close(fd)
    if len(content) > LIMIT:
        raise OSError
    return content
