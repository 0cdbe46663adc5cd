# SPDX-License-Identifier: Apache-2.0
"""Reading one file in the style of systemd.syntax(7)."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from configparser import RawConfigParser
from dataclasses import dataclass
from pathlib import Path

from missiond.config.diagnostics import Problem, shortened
from missiond.store.safe_files import ForeignFileError, read_regular

FILE_LIMIT = 256 * 1024
PROBLEM_LIMIT = 20
_COMMENT = ("#", ";")
_END_OF_LINE = re.compile(r"\r\n|\n|\r")
_HEADER = re.compile(r"\[[^\[\]]+\]")
_BINARY = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
# Names that no file can hold, since control characters make it binary.
_BEFORE_SECTIONS = "\0before"
_BROKEN_SECTION = "\0broken"
_NO_DEFAULTS = "\0default"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One ``Key=value`` line."""

    path: str
    line: int
    section: str
    key: str
    value: str

    def problem(self, text: str, *, error: bool = True) -> Problem:
        """Return a problem with this line."""
        subject = f"[{shortened(self.section)}] {shortened(self.key)}={shortened(self.value)}"
        return Problem(self.path, self.line, text, subject, error)


@dataclass(frozen=True, slots=True)
class IniFile:
    """Content of a file. ``readable`` is false when nothing could be used."""

    assignments: list[Assignment]
    problems: list[Problem]
    readable: bool = True


def read_ini(path: Path, source: Path | None = None, owners: Container[int] | None = None) -> IniFile:
    """Read a file; never raises.

    :param path: how messages name the file.
    :param source: the file itself, when ``path`` is a link to it.
    :param owners: whose file it has to be; by default anybody's.
    """
    try:
        text = _decode(read_regular(source or path, FILE_LIMIT, owners=owners))
    except ForeignFileError as error:  # as if it was not there: what others set stays in force
        return IniFile([], [Problem(str(path), 0, f"ignored: {error.strerror}")])
    except OSError as error:
        return _unreadable(path, error.strerror or str(error))
    except ValueError as error:
        return _unreadable(path, str(error))
    return _parse(str(path), text)


def _unreadable(path: Path, text: str) -> IniFile:
    return IniFile([], [Problem(str(path), 0, f"ignored: {text}")], readable=False)


def _decode(data: bytes) -> str:
    """Return the text; raises ValueError for something else. Odd bytes are left to the readers of values."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if _BINARY.search(text):
        raise ValueError("not a text file")
    return text


def _parse(path: str, text: str) -> IniFile:
    parser = RawConfigParser(
        delimiters=("=",),
        comment_prefixes=_COMMENT,
        strict=False,
        allow_no_value=True,
        default_section=_NO_DEFAULTS,
        interpolation=None,
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_file(_numbered(text), path)
    assignments: list[Assignment] = []
    problems: list[Problem] = []
    for section in parser.sections():
        for name, value in parser.items(section):
            number, _, key = name.partition(" ")
            item = Assignment(path, int(number), section, key, value or "")
            complaint = _complaint(item, has_value=value is not None)
            if complaint is None:
                assignments.append(item)
            else:
                problems.append(complaint)
    problems.sort(key=lambda problem: problem.line)
    return IniFile(assignments, problems)


def _complaint(item: Assignment, *, has_value: bool) -> Problem | None:
    if item.section == _BEFORE_SECTIONS:
        return Problem(item.path, item.line, "ignored: comes before the first [Section]", shortened(item.key))
    if item.section == _BROKEN_SECTION:
        text = "ignored: not a [Section], or below a line that is not"
        return Problem(item.path, item.line, text, shortened(item.key))
    if not has_value or not item.key:
        return Problem(item.path, item.line, "ignored: not of the form Key=value", shortened(item.key))
    return None


def _numbered(text: str) -> Iterator[str]:
    """Put the number of the line before each key, so that no repetition is lost and messages can name it.

    Indentation goes, since it means nothing here (and continues a value for configparser).
    """
    yield f"[{_BEFORE_SECTIONS}]\n"
    for number, line in _joined(text):
        if line.startswith("["):
            if _HEADER.fullmatch(line):
                yield f"{line}\n"
            else:
                yield f"[{_BROKEN_SECTION}]\n"
                yield f"{number} {line}\n"
        elif line:
            yield f"{number} {line}\n"


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Return stripped lines without comments, those that end in a backslash joined with the next one."""
    begun = ""
    start = 0
    for number, raw in enumerate(_END_OF_LINE.split(text), 1):
        line = raw.strip()
        if line.startswith(_COMMENT):
            continue
        start = start if begun else number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        yield start, (begun + line).strip()
        begun = ""
    if begun:
        yield start, begun.strip()
