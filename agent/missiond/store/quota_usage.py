# SPDX-License-Identifier: Apache-2.0
"""Use of quotas by application, across restarts and reboots."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from missiond.core.tasks import intervals
from missiond.store import quota_boots, quota_file, quota_lines, safe_files
from missiond.store.quota_boots import Boot, Placed
from missiond.store.quota_lines import JournalClock, Stamp

SHORTEN_AFTER = 2000
_PENDING_LIMIT = 1 << 20
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UsedQuota:
    """A time with a counted task of an application.

    ``start_ms`` and ``end_ms`` are milliseconds since this boot (CLOCK_BOOTTIME), negative before it.
    """

    uid: int
    app_id: str
    start_ms: int
    end_ms: int


def _own(uid: int) -> int:
    return uid


class UsageJournal:
    """A file of JSON lines, one appended with a single write(2) for each piece of usage.

    ``load`` comes first. Saving never fails: what cannot be written waits in memory for the next chance, the
    log says so once, and ``failing`` is true until then.

    What earlier boots used stays as those wrote it, on their clocks: how long ago that was is worked out of
    the wall clocks, and the present one may be set late (a host without a battery for it).

    An end appends 0.1 kB in 0.01 ms (p99). A file for each application, replaced as a whole, would be 6 kB
    and 8 ms of a busy disk for one with as many intervals as are kept (tests/bench/test_quota.py), and a
    start would open 10 000 files.
    """

    failing: bool

    def __init__(
        self,
        path: str | Path,
        known: Callable[[], Iterable[UsedQuota]],
        person_of: Callable[[int], int] = _own,
    ) -> None:
        """`path` is the file, made when missing (with the directory).

        `known` tells all usage of this boot that still counts, which takes the place of many lines.
        `person_of` tells from a uid who it is that has it.
        """
        self._path = Path(path)
        self._known = known
        self._person_of = person_of
        self._clock: JournalClock | None = None
        self._horizon = 0
        self._earlier: list[Boot] = []
        self._since = 0
        """Usage of earlier boots was before this moment of this one."""
        self._lost: int | None = None
        self._fd: int | None = None
        self._lines = 0
        self._shorten_at = SHORTEN_AFTER
        self._pending = b""
        self._incomplete = False
        self.failing = False

    def load(self, clock: JournalClock, horizon_ms: int) -> list[UsedQuota]:
        """Return the usage of this boot in the last ``horizon_ms``, and shorten the file.

        The result is by application and time, without overlaps; ``earlier`` has the rest. Damaged lines and
        lines of other versions are skipped with one line in the log; a file with such lines is kept as
        ``*.invalid``.
        """
        self._clock, self._horizon = clock, horizon_ms
        now = self._stamp()
        content = quota_file.read(self._path, self._person_of)
        if content.gone:
            self._close()
        self._earlier, present = quota_boots.apart(content.boots, now)
        self._since = now.now if present is None else present.earliest
        self._lost = now.now if content.lost else present.lost if present is not None else None
        usages = [] if present is None else _usages(present.used, now.now - horizon_ms)
        self._rewrite(usages, b"\n" if content.torn else b"")
        return usages

    def earlier(self) -> list[UsedQuota]:
        """Return the usage of earlier boots in the horizon, aged by the present wall clock.

        Worth asking again after the wall clock was set.
        """
        now = self._stamp()
        placed = quota_boots.place(self._earlier, now, self._since)
        return _usages(placed, now.now - self._horizon)

    @property
    def lost_at(self) -> int | None:
        """Time of a wholly unreadable record, ms since this boot; None for none."""
        now = self._stamp()
        moved = quota_boots.shifts(self._earlier, now, self._since)
        found = [
            boot.lost + shift
            for boot, shift in zip(self._earlier, moved, strict=True)
            if boot.lost is not None
        ]
        latest = max([*found, *([] if self._lost is None else [self._lost])], default=None)
        return latest if latest is not None and latest > now.now - self._horizon else None

    def append(self, uid: int, app_id: str, start_ms: int, end_ms: int) -> None:
        """Append a piece of usage; times are ms since this boot.

        :raises ValueError: it ends before it starts.
        :raises RuntimeError: ``load`` was not called.
        """
        if end_ms < start_ms:
            raise ValueError("usage ends before it starts")
        if end_ms > start_ms:
            self._write(quota_lines.encode(self._stamp(), uid, app_id, start_ms, end_ms))

    def mark(self) -> None:
        """Append a reading of the clocks, for aging the usage in later boots.

        Worth calling on an orderly stop and when the wall clock was set.
        """
        self._write(quota_lines.encode_mark(self._stamp()))

    def close(self) -> None:
        """Append a mark and close the file; later usage opens the file again."""
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
        self._fd = safe_files.open_regular(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _rewrite(self, usages: Iterable[UsedQuota], end: bytes = b"") -> None:
        """Replace the file by these and what earlier boots wrote; what is oldest comes first.

        Where that fails, it goes on behind what it has, after `end`.
        """
        now = self._stamp()
        moved = quota_boots.shifts(self._earlier, now, self._since)
        self._earlier = quota_boots.still_counting(self._earlier, moved, now.now - self._horizon)
        encoded = [line for boot in self._earlier for line in _lines_of(boot)]
        if self._lost is not None and self._lost > now.now - self._horizon:
            encoded.append(_lost_mark(now, self._lost))
        by_time = sorted(usages, key=lambda usage: usage.end_ms)
        encoded += [quota_lines.encode(now, u.uid, u.app_id, u.start_ms, u.end_ms) for u in by_time]
        self._lines = len(encoded)
        self._shorten_at = max(SHORTEN_AFTER, 2 * self._lines)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            safe_files.replace(str(self._path), b"".join(encoded))
            self._close()
            self._pending = b""
            self._incomplete = False
            self._open()
        except OSError as error:
            self._keep(end + self._pending, error)
        else:
            self._recovered()


def _lines_of(boot: Boot) -> list[bytes]:
    """Return the lines of an earlier boot, with its first and last readings of the clocks."""
    used = sorted((end, start, key) for key, spans in boot.used.items() for start, end in spans)
    lines = [quota_lines.encode_mark(boot.first)]
    if boot.lost is not None:
        lines.append(_lost_mark(boot.last, boot.lost))
    lines += [quota_lines.encode(boot.last, *key, start, end) for end, start, key in used]
    return [*lines, quota_lines.encode_mark(boot.last)]


def _lost_mark(known: Stamp, lost: int) -> bytes:
    """Return the mark of a moment, from a reading of the clocks at another one of that boot."""
    return quota_lines.encode_mark(Stamp(known.boot, lost, known.wall - known.now + lost), lost=True)


def _usages(used: Placed, since: int) -> list[UsedQuota]:
    return [
        UsedQuota(uid, app_id, start, end)
        for (uid, app_id), spans in sorted(used.items())
        for start, end in intervals.union(span for span in spans if span[1] > since)
    ]
