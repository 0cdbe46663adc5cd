# SPDX-License-Identifier: Apache-2.0
"""Names and icons of applications, from .desktop files (Desktop Entry Specification).

The files come from packages, but a directory may hold anything: a link loop, a FIFO, gigabytes.
"""

from __future__ import annotations

import codecs
import configparser
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

LIMIT = 256 * 1024
"""Most bytes of a file to be looked at."""
_TEXT = 256
_DIRECTORIES = (
    Path("/usr/local/share/applications"),
    Path("/usr/share/applications"),
    Path("/var/lib/flatpak/exports/share/applications"),
    Path("/var/lib/snapd/desktop/applications"),
)
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,250}")
_GROUP = "Desktop Entry"
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True, slots=True)
class DesktopEntry:
    """The contents of one file. The name is printable and on one line; an absent value is empty."""

    name: str
    icon: str
    is_terminal: bool
    """Whether the application is a terminal emulator, for people to start other programs in."""
    command: str = ""
    """Exec= as in the file; see core.launch.desktop_exec."""
    directory: str = ""
    """Path=, where the program is started."""
    is_application: bool = False
    """Whether people find the application among programs, or DBusActivatable= is set."""


def find(application: str, directories: Iterable[Path] = _DIRECTORIES) -> DesktopEntry | None:
    """Look for the application of this id in the host's directories; None without such a file."""
    if not _ID.fullmatch(application):
        return None
    for directory in directories:
        try:
            content = read(directory / f"{application}.desktop")
        except OSError:
            continue
        entry = parse(content)
        if entry is not None:
            return entry
    return None


def parse(content: bytes) -> DesktopEntry | None:
    """Read one file; None where the file is no desktop entry."""
    parser = configparser.RawConfigParser(
        delimiters=("=",),
        comment_prefixes=("#",),
        strict=False,
        interpolation=None,
        empty_lines_in_values=False,
    )
    try:
        parser.read_string(_text(content))
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
        _is_application(values),
    )


def _text(content: bytes) -> str:
    """Decode a file: UTF-8 with or without a byte order mark, UTF-16 with one, and older lines of Latin-1."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content.removeprefix(mark).decode(encoding, "replace")
    return "\n".join(map(_line, content.split(b"\n")))


def _line(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _is_application(values: Mapping[str, str]) -> bool:
    if values.get("Type", "Application") != "Application" or values.get("Hidden") == "true":
        return False
    return values.get("DBusActivatable") == "true" or values.get("NoDisplay") != "true"


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_TEXT]).strip()


def read(path: Path) -> bytes:
    """Read a regular file of at most LIMIT bytes; raises OSError."""
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
