# SPDX-License-Identifier: Apache-2.0
"""Which application used how much of its quota when, across restarts and reboots."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from missiond.core import intervals
from missiond.state import regular_files, usage_lines
from missiond.state.usage_lines import JournalClock, Line, LineError, Stamp

FILE_LIMIT = 64 << 20
SHORTEN_AFTER = 2000
_PENDING_LIMIT = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Usage:
    """A time during which an application had a task that counts.

    ``start_ms`` and ``end_ms`` are milliseconds since this boot (CLOCK_BOOTTIME), negative before it.
    """

    uid: int
    app_id: str
    start_ms: int
    end_ms: int


class UsageJournal:
    """A file of JSON lines, one appended with a single write(2) for each piece of usage.

    ``load`` comes first. Saving never fails: what cannot be written waits in memory for the next chance, the
    log says so once, and ``failing`` is true until then.
    """

    failing: bool

    def __init__(self, path: str | Path, known: Callable[[], Iterable[Usage]]) -> None:
        """`path` is the file, made when missing (with its directory).

        `known` tells all usage that still counts, which takes the place of many lines.
        """
        self._path = Path(path)
        self._known = known
        self._clock: JournalClock | None = None
        self._fd: int | None = None
        self._lines = 0
        self._shorten_at = SHORTEN_AFTER
        self._pending = b""
        self._incomplete = False
        self.failing = False

    def load(self, clock: JournalClock, horizon_ms: int) -> list[Usage]:
        """Return what was used in the last ``horizon_ms``, on this boot's clock, and make the file small.

        The result is by application and time, without overlaps. Damaged lines and lines of other versions are
        skipped with one line in the log; a file with such lines is kept as ``*.invalid``.
        """
        self._clock = clock
        now = self._stamp()
        lines, torn, readable = _read_lines(self._path)
        if not readable:
            self._close()
        usages = _usages(lines, now, horizon_ms)
        self._rewrite(usages, b"\n" if torn else b"")
        return usages

    def append(self, uid: int, app_id: str, start_ms: int, end_ms: int) -> None:
        """Note a piece of usage that has ended; times are ms since this boot.

        :raises ValueError: it ends before it starts.
        :raises RuntimeError: ``load`` was not called.
        """
        if end_ms < start_ms:
            raise ValueError("usage ends before it starts")
        if end_ms > start_ms:
            self._write(usage_lines.encode(self._stamp(), uid, app_id, start_ms, end_ms))

    def mark(self) -> None:
        """Note how the clocks stand; what is later read on another boot is aged from here.

        Worth calling on an orderly stop and when the wall clock was set.
        """
        self._write(usage_lines.encode_mark(self._stamp()))

    def close(self) -> None:
        """Leave a mark and close the file. Usage can still be appended and opens it again."""
        if self._clock is not None:
            self.mark()
        self._close()

    def _stamp(self) -> Stamp:
        if self._clock is None:
            raise RuntimeError("the usage journal was not loaded")
        return Stamp.of(self._clock)

    def _write(self, line: bytes) -> None:
        data = self._pending + line
        try:
            if self._fd is None:
                self._open()
            assert self._fd is not None
            written = os.write(self._fd, data)
            if written < len(data):
                # Disk full in mid-line: end the torn line before the whole is said again.
                self._keep(b"\n" + data)
                return
        except OSError as error:
            self._keep(data, error)
            return
        self._pending = b""
        self._lines += 1
        if self._incomplete or self._lines >= self._shorten_at:
            self._rewrite(self._known())
        else:
            self._recovered()

    def _keep(self, data: bytes, error: OSError | None = None) -> None:
        if len(data) <= _PENDING_LIMIT:
            self._pending = data
        else:
            self._incomplete = True
        if not self.failing:
            self.failing = True
            _log.error("cannot save the use of quotas, a restart now would forget: %s", error or "disk full")

    def _recovered(self) -> None:
        if self.failing:
            self.failing = False
            _log.warning("the use of quotas is saved again")

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = regular_files.open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _rewrite(self, usages: Iterable[Usage], end: bytes = b"") -> None:
        """Replace the file by these; where that fails, it goes on behind what it has, after `end`."""
        now = self._stamp()
        encoded = [usage_lines.encode(now, u.uid, u.app_id, u.start_ms, u.end_ms) for u in usages]
        self._lines = len(encoded)
        self._shorten_at = max(SHORTEN_AFTER, 2 * self._lines)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            regular_files.replace(str(self._path), b"".join(encoded))
            self._close()
            self._pending = b""
            self._incomplete = False
            self._open()
        except OSError as error:
            self._keep(end + self._pending, error)
        else:
            self._recovered()


def _read_lines(path: Path) -> tuple[list[Line], bool, bool]:
    """Return the sound lines, whether the last one has no end, and whether the file was readable at all."""
    try:
        data = regular_files.read_regular(path, FILE_LIMIT)
    except FileNotFoundError:
        return [], False, True
    except OSError as error:
        _set_aside(path, error)
        return [], False, False
    lines, problems = _parse(data)
    torn = bool(data) and not data.endswith(b"\n")
    if problems:
        _keep_copy(path, problems)
    elif torn and (not lines or not _sound(data.rpartition(b"\n")[2])):
        _log.warning("%s: the last line was cut short and is skipped", path)
    return lines, torn, True


def _parse(data: bytes) -> tuple[list[Line], str]:
    """Return the sound lines and what was wrong with others, but for a torn last one."""
    lines: list[Line] = []
    damaged = foreign = 0
    *whole, last = data.split(b"\n")
    for text in whole:
        try:
            if text:
                lines.append(_decode(text))
        except LineError as error:
            damaged += error.version is None
            foreign += error.version is not None
    if last and _sound(last):
        lines.append(_decode(last))
    counts = [f"{damaged} damaged"] * bool(damaged) + [f"{foreign} of another version"] * bool(foreign)
    return lines, ", ".join(counts)


def _decode(text: bytes) -> Line:
    if len(text) > usage_lines.LINE_LIMIT:
        raise LineError("too long")
    return usage_lines.decode(text)


def _sound(text: bytes) -> bool:
    try:
        _decode(text)
    except LineError:
        return False
    return True


def _keep_copy(path: Path, problems: str) -> None:
    try:
        kept = f"the whole file is kept as {regular_files.keep_copy(path)}"
    except OSError as error:
        kept = f"no copy is kept: {error}"
    _log.error("%s: lines skipped (%s); %s", path, problems, kept)


def _set_aside(path: Path, reason: OSError) -> None:
    try:
        kept = f"moved to {regular_files.set_aside(str(path))}"
    except OSError as error:
        kept = f"left where it is: {error}"
    _log.error("the use of quotas cannot be read (%s), %s", reason, kept)


def _usages(lines: list[Line], now: Stamp, horizon: int) -> list[Usage]:
    return [
        Usage(uid, app_id, start, end)
        for (uid, app_id), used in sorted(usage_lines.place(lines, now).items())
        for start, end in intervals.union(interval for interval in used if interval[1] > now.now - horizon)
    ]
