# SPDX-License-Identifier: Apache-2.0
"""The lines of the usage journal."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Protocol

VERSION = 1
LINE_LIMIT = 8192
NAME_LIMIT = 255
"""Characters of an application's name, the limit of file names."""
_LARGEST = 2**62


class JournalClock(Protocol):
    """The clock of a journal."""

    @property
    def boot_id(self) -> str:
        """Identifier of the boot (/proc/sys/kernel/random/boot_id, random(4))."""

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
class QuotaLine:
    """One line; without an application a mark, the reading of the clocks alone.

    `lost` says that what was written before could not be read.
    """

    stamp: Stamp
    app: tuple[int, str] | None = None
    start: int = 0
    end: int = 0
    lost: bool = False


class LineError(ValueError):
    """An unusable line; ``version`` is set for another version."""

    def __init__(self, text: str, version: object = None) -> None:
        super().__init__(text)
        self.version = version


@functools.lru_cache(maxsize=256)
def _quote(text: str) -> str:
    return json.dumps(text)


def encode(stamp: Stamp, uid: int, app_id: str, start: int, end: int) -> bytes:
    """Return the line for a piece of usage, with the newline."""
    return (
        f'{{"version":{VERSION},"uid":{uid},"app":{_quote(app_id)},"start":{start},"end":{end},'
        f'"boot":{_quote(stamp.boot)},"now":{stamp.now},"wall":{stamp.wall}}}\n'
    ).encode("ascii")


def encode_mark(stamp: Stamp, *, lost: bool = False) -> bytes:
    """Return a mark of the clocks, with `lost` also of unreadable older lines."""
    mark = f'"boot":{_quote(stamp.boot)},"now":{stamp.now},"wall":{stamp.wall}' + ',"lost":true' * lost
    return f'{{"version":{VERSION},{mark}}}\n'.encode("ascii")


_INTEGER = rb"(-?[0-9]{1,18})"
_USUAL = (
    rb'\{"version":1,(?:"uid":([0-9]{1,10}),"app":"([ !#-\[\]-~]{0,%d})","start":%b,"end":%b,)?'
    rb'"boot":"([ !#-\[\]-~]*)","now":%b,"wall":%b\}' % (NAME_LIMIT, _INTEGER, _INTEGER, _INTEGER, _INTEGER)
)
"""Lines of `encode` for nearly all applications, and of `encode_mark`: read far sooner than JSON."""
_LINES = re.compile(rb"(?:%b|([^\n]*))\n" % _USUAL)

Parts = tuple[bytes, ...]
"""Fields of a usual line, and last, in place of the fields, the text of any other line."""


@functools.lru_cache(maxsize=16)
def _text(data: bytes) -> str:
    return data.decode("ascii")


def parts(data: bytes) -> list[Parts]:
    """Return the parts of whole lines with newlines."""
    return _LINES.findall(data)


def is_usual(line: Parts) -> bool:
    """Return whether a line is usual."""
    return line[5] != b""


def decode_usual(line: Parts) -> tuple[str, int, int, tuple[int, str] | None, int, int]:
    """Return the parts of the stamp, application (None for a mark), start and end of a usual line.

    :raises LineError: that can't be.
    """
    uid, app, start, end, boot, now, wall, _ = line
    if not uid:
        return _text(boot), int(now), int(wall), None, 0, 0
    then, last, who = int(now), int(end), int(uid)
    late = last - then if last > then else 0  # as in `decode`
    first = int(start)
    if first > last or who >= 2**32:
        raise LineError("impossible usage")
    return _text(boot), then, int(wall), (who, app.decode("ascii")), first - late, last - late


def decode(data: bytes) -> QuotaLine:
    """Read one line.

    :raises LineError: not a line of this version.
    """
    if len(data) > LINE_LIMIT:
        raise LineError("too long")
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


def _line(content: dict[str, object]) -> QuotaLine:
    boot = content.get("boot")
    if not isinstance(boot, str):
        raise LineError("no boot")
    stamp = Stamp(boot, _number(content, "now"), _number(content, "wall"))
    if "uid" not in content:
        return QuotaLine(stamp, lost=content.get("lost") is True)
    app_id = content.get("app")
    if not isinstance(app_id, str) or len(app_id) > NAME_LIMIT:
        raise LineError("no name of an application")
    uid, start, end = (_number(content, key) for key in ("uid", "start", "end"))
    return _usage(stamp, uid, app_id, start, end)


def _usage(stamp: Stamp, uid: int, app_id: str, start: int, end: int) -> QuotaLine:
    if not 0 <= uid < 2**32 or start > end:
        raise LineError("impossible usage")
    # Nobody can have used time to come; keep the length, at the latest possible place.
    late = max(0, end - stamp.now)
    return QuotaLine(stamp, (uid, app_id), start - late, end - late)


def _number(content: dict[str, object], key: str) -> int:
    value = content.get(key)
    if type(value) is not int or abs(value) > _LARGEST:
        raise LineError(f"no {key}")
    return value
