# SPDX-License-Identifier: Apache-2.0
"""Reader of the usage journal, in pieces, for any content."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path

from missiond.store import quota_lines, safe_files
from missiond.store.quota_boots import Boot, Boots
from missiond.store.quota_lines import LineError, Parts

READ_LIMIT = 96 << 20
"""Limit in bytes; of a larger file the end is read, with the latest lines."""
_PIECE = 1 << 18
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Content:
    """Content of the file: boots, and whether the last line has no end.

    `gone` is whether it is not there as a file, or any more. `lost` is whether there was something and none
    of it could be read.
    """

    boots: list[Boot] = field(default_factory=list)
    torn: bool = False
    gone: bool = False
    lost: bool = False


@dataclass(slots=True)
class _Counts:
    """Of lines."""

    sound: int = 0
    damaged: int = 0
    foreign: int = 0
    torn: bool = False
    """Whether the last line has no end."""
    cut: bool = False
    """Whether it can't be read for that."""

    def __str__(self) -> str:
        words = [f"{self.damaged} damaged"] * bool(self.damaged)
        return ", ".join(words + [f"{self.foreign} of another version"] * bool(self.foreign))


def read(path: Path, person_of: Callable[[int], int]) -> Content:
    """Read all sound lines; damage is logged, with a copy of the file as ``*.invalid``.

    The memory that it takes is bounded whatever is in the file, as `usage_boots` says.
    """
    boots, counts = Boots(person_of), _Counts()
    try:
        fd = safe_files.open_regular(path, os.O_RDONLY)
        with open(fd, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor, not a path)
            size = os.fstat(fd).st_size
            if size > READ_LIMIT:
                _log.error("%s: of %d bytes the last %d are read", path, size, READ_LIMIT)
                file.seek(size - READ_LIMIT - 1)
            whole = size <= READ_LIMIT  # else the first line begins in what is left out
            for lines in _pieces(file):
                _take(lines if whole else lines[1:], boots, counts)
                whole = whole or bool(lines)
    except FileNotFoundError:
        return Content()
    except OSError as error:
        if not counts.sound:
            _set_aside(path, error)
            return Content(gone=True, lost=True)
        _keep_copy(path, f"{error.strerror} behind the first {counts.sound}")
    if counts.damaged or counts.foreign:
        _keep_copy(path, str(counts))
    elif counts.cut:
        _log.warning("%s: the last line was cut short and is skipped", path)
    if boots.left_out:
        _log.warning("%s: the use of quotas by %d applications was too much to keep", path, boots.left_out)
    lost = not counts.sound and bool(counts.damaged + counts.foreign)
    return Content(boots.finish(), counts.torn, lost=lost)


def _pieces(file: RawIOBase) -> Iterator[list[Parts | bytes]]:
    """Return lines as their parts, many at a time; one without its end comes last and as it is.

    Of those that are too long the beginning is returned.
    """
    rest = b""
    while piece := file.read(_PIECE):
        whole, end, rest = (rest + piece).rpartition(b"\n")
        if end:
            yield [*quota_lines.parts(whole + end)]
        if len(rest) > 2 * quota_lines.LINE_LIMIT:
            rest = rest[: quota_lines.LINE_LIMIT + 1]  # what follows makes it no better
    if rest:
        yield [rest]


def _take(lines: Iterable[Parts | bytes], boots: Boots, counts: _Counts) -> None:
    """Take in the sound lines, and count the others; a last one without its end may have been cut short."""
    use, decode, is_usual = boots.use, quota_lines.decode_usual, quota_lines.is_usual
    sound, content = 0, b""
    for line in lines:
        try:
            if not isinstance(line, bytes) and is_usual(line):
                use(*decode(line))
                sound += 1
                continue
            counts.torn = isinstance(line, bytes)
            content = line if isinstance(line, bytes) else line[-1]
            if content:
                boots.take(quota_lines.decode(content))
                sound += 1
        except LineError as error:
            counts.cut = counts.torn and len(content) <= quota_lines.LINE_LIMIT
            if not counts.cut:
                counts.foreign += error.version is not None
                counts.damaged += error.version is None
    counts.sound += sound


def _keep_copy(path: Path, problems: str) -> None:
    try:
        kept = f"the whole file is kept as {safe_files.keep_copy(path)}"
    except OSError as error:
        kept = f"no copy is kept: {error}"
    _log.error("%s: lines skipped (%s); %s", path, problems, kept)


def _set_aside(path: Path, reason: OSError) -> None:
    try:
        kept = f"moved to {safe_files.set_aside(str(path))}"
    except OSError as error:
        kept = f"left where it is: {error}"
    _log.error("the use of quotas cannot be read (%s), %s", reason, kept)
