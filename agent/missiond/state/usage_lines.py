# SPDX-License-Identifier: Apache-2.0
"""The lines of the usage journal, and what they mean to the clock of another boot."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from missiond.core.intervals import Interval

VERSION = 1
LINE_LIMIT = 8192
# 2024-01-01: a wall clock before this was never set (some hosts have no battery for it) and proves nothing.
WALL_CLOCK_SET = 1_704_067_200_000
_LARGEST = 2**62


class JournalClock(Protocol):
    """What the journal asks of a clock."""

    @property
    def boot_id(self) -> str:
        """What tells one boot from another (/proc/sys/kernel/random/boot_id, random(4))."""

    def now(self) -> int:
        """Milliseconds since boot, suspend included (CLOCK_BOOTTIME)."""

    def wall(self) -> int:
        """Milliseconds since the epoch, as far as this host knows."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a line was written: boot, ms since boot, ms since the epoch."""

    boot: str
    now: int
    wall: int

    @classmethod
    def of(cls, clock: JournalClock) -> Stamp:
        """Return the present moment."""
        return cls(clock.boot_id, clock.now(), clock.wall())


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Without an application it only says how the clocks stood (a mark)."""

    stamp: Stamp
    app: tuple[int, str] | None = None
    start: int = 0
    end: int = 0


# Usage by application (uid, app_id), on this boot's clock; times before this boot are negative.
Placed = dict[tuple[int, str], list[Interval]]


class LineError(ValueError):
    """The line cannot be used; ``version`` is set when it merely has another version."""

    def __init__(self, text: str, version: object = None) -> None:
        super().__init__(text)
        self.version = version


@functools.lru_cache(maxsize=256)
def _quote(text: str) -> str:
    return json.dumps(text)


def encode(stamp: Stamp, uid: int, app_id: str, start: int, end: int) -> bytes:
    """Return the line for a piece of usage, with its end of line."""
    return (
        f'{{"version":{VERSION},"uid":{uid},"app":{_quote(app_id)},"start":{start},"end":{end},'
        f'"boot":{_quote(stamp.boot)},"now":{stamp.now},"wall":{stamp.wall}}}\n'
    ).encode("ascii")


def encode_mark(stamp: Stamp) -> bytes:
    """Return a line that only says how the clocks stand."""
    mark = f'"boot":{_quote(stamp.boot)},"now":{stamp.now},"wall":{stamp.wall}'
    return f'{{"version":{VERSION},{mark}}}\n'.encode("ascii")


def decode(data: bytes) -> Line:
    """Read one line.

    :raises LineError: not a line of this version.
    """
    try:
        content = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise LineError("not JSON") from error
    if not isinstance(content, dict):
        raise LineError("not a JSON object")
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise LineError("another version", version if type(version) is int else None)
    return _line(content)


def _line(content: dict[str, object]) -> Line:
    boot = content.get("boot")
    if not isinstance(boot, str):
        raise LineError("no boot")
    stamp = Stamp(boot, _number(content, "now"), _number(content, "wall"))
    if "uid" not in content:
        return Line(stamp)
    app_id = content.get("app")
    uid, start, end = (_number(content, key) for key in ("uid", "start", "end"))
    if not isinstance(app_id, str) or not 0 <= uid < 2**32 or start > end:
        raise LineError("impossible usage")
    # Nobody can have used time to come; keep the length, at the latest possible place.
    late = max(0, end - stamp.now)
    return Line(stamp, (uid, app_id), start - late, end - late)


def _number(content: dict[str, object], key: str) -> int:
    value = content.get(key)
    if type(value) is not int or abs(value) > _LARGEST:
        raise LineError(f"no {key}")
    return value


def place(lines: Iterable[Line], now: Stamp) -> Placed:
    """Move the usage of other boots to this boot's clock.

    Lines are in the order they were written. All usage of one boot moves as one, so that what did not overlap
    still does not. How long ago another boot's last line was is what the wall clocks of the two boots say;
    when they say less than nothing, or were not set, no time has passed. Usage of an earlier boot also ends
    before that of a later one begins. An error of the clocks can so only make usage look more recent than it
    was, except a wall clock that is set forward between two boots, which nothing here could notice.
    """
    apps: Placed = {}
    groups = [list(group) for _, group in groupby(lines, key=lambda line: line.stamp.boot)]
    following = now
    earliest = now.now
    for group in reversed(groups):
        stamps = sorted((line.stamp for line in group), key=lambda stamp: stamp.now)
        first, last = stamps[0], stamps[-1]
        shift = 0
        # A clock that went back within a boot (a machine restored from a snapshot) is like another boot.
        if first.boot != now.boot or last.now > now.now:
            shift = min(earliest, following.now - _passed(last.wall, following.wall)) - last.now
        for line in group:
            if line.app is not None:
                apps.setdefault(line.app, []).append((line.start + shift, line.end + shift))
                earliest = min(earliest, line.start + shift)
        following = Stamp(first.boot, first.now + shift, first.wall)
        earliest = min(earliest, following.now)
    return apps


def _passed(then: int, now: int) -> int:
    return max(0, now - then) if then >= WALL_CLOCK_SET else 0
