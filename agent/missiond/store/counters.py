# SPDX-License-Identifier: Apache-2.0
"""Named counters that a crash does not turn back."""

from __future__ import annotations

import binascii
import contextlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from missiond.store import safe_files

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_VALUE = 2**32 - 1
# A slot never crosses a disk sector, so a power failure leaves an old or a new one.
SLOT_SIZE = 64
_HEADER = b"missiond counters 1".ljust(SLOT_SIZE - 1) + b"\n"
_FILE_LIMIT = 64 * SLOT_SIZE
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_SLOT = re.compile(rb"([a-z][a-z0-9-]{0,31}) ([0-9]{10}) ([0-9a-f]{8}) *\n")
_log = logging.getLogger(__name__)


@dataclass
class _Counter:
    offset: int
    value: int = 0
    # Read from the file or already stepped: no longer a guess.
    known: bool = False


class Counters:
    """Counters from 1 to 2**32-1 and on from 1, in one file of fixed slots, one pwrite(2) for each step.

    A counter never fails: when the file cannot be read or written it counts in memory, says so in the log
    once, and ``failing`` is true until a write succeeds.
    """

    failing: bool

    def __init__(self, path: str | Path) -> None:
        """:param path: the file; made when missing (with its directory)."""
        self._path = Path(path)
        self._counters: dict[str, _Counter] = {}
        self._fd: int | None = None
        self.failing = False
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._read()
            self._rewrite()
        except OSError as error:
            self._fail(error)

    def next(self, name: str, skip: Callable[[int], bool] | None = None) -> int:
        """Step the counter and return its new value, first 1.

        :param skip: tells whether a value is still in use; such values are passed over. It must be false for
            some value.
        :raises ValueError: ``name`` is not of the form ``[a-z][a-z0-9-]{0,31}``, or there are too many names.
        """
        counter = self._counters.get(name) or self._add(name)
        value = counter.value % MAX_VALUE + 1
        while skip is not None and skip(value):
            value = value % MAX_VALUE + 1
        counter.value = value
        counter.known = True
        self._write(name, counter)
        return value

    def at_least(self, name: str, value: int) -> None:
        """Make the counter continue above ``value``, the id of a live task, unless it is beyond it already.

        To be called for every live id after a start. A counter read from a sound file is moved by less than
        half its range at most, so that a high id from before a wrap does not undo the wrap.

        :raises ValueError: bad name, or value not in 1 … 2**32-1.
        """
        if not 1 <= value <= MAX_VALUE:
            raise ValueError(f"counter value {value} is out of range")
        counter = self._counters.get(name) or self._add(name)
        ahead = (value - counter.value) % MAX_VALUE
        if 0 < ahead < MAX_VALUE // 2 if counter.known else value > counter.value:
            counter.value = value
            self._write(name, counter)

    def save_again(self) -> None:
        """Write all counters where that failed the last time."""
        if self.failing:
            for name, counter in list(self._counters.items()):
                self._write(name, counter)

    def close(self) -> None:
        """Close the file. The counters can still be used and open it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _add(self, name: str) -> _Counter:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a counter")
        offset = SLOT_SIZE * (len(self._counters) + 1)
        if offset >= _FILE_LIMIT:
            raise ValueError("too many counters")
        counter = self._counters[name] = _Counter(offset)
        return counter

    def _write(self, name: str, counter: _Counter) -> None:
        try:
            if self._fd is None:
                self._rewrite()
            else:
                os.pwrite(self._fd, _slot(name, counter.value), counter.offset)
        except OSError as error:
            self._fail(error)
            return
        if self.failing:
            self.failing = False
            _log.warning("counters are saved again")

    def _fail(self, error: OSError) -> None:
        if not self.failing:
            self.failing = True
            _log.error("cannot save counters, ids may repeat after the next start: %s", error)

    def _read(self) -> None:
        """Take over every sound slot; keep a damaged file aside."""
        try:
            data = safe_files.read_regular(self._path, _FILE_LIMIT)
        except FileNotFoundError:
            return
        except OSError as error:
            self._reject(str(error))
            return
        slots = [data[at : at + SLOT_SIZE] for at in range(SLOT_SIZE, len(data), SLOT_SIZE)]
        for slot in slots:
            if (parsed := _parse(slot)) is not None and parsed[0] not in self._counters:
                self._add(parsed[0]).value = parsed[1]
                self._counters[parsed[0]].known = True
        if data[:SLOT_SIZE] != _HEADER or len(self._counters) != len(slots):
            self._reject("damaged, or of another version")

    def _reject(self, reason: str) -> None:
        with contextlib.suppress(OSError):
            safe_files.set_aside(str(self._path))
        _log.error("counters: %s: %s; going on above the highest id in use", self._path, reason)

    def _rewrite(self) -> None:
        """Write a whole file and keep it open."""
        slots = [_slot(name, counter.value) for name, counter in self._counters.items()]
        safe_files.replace(str(self._path), _HEADER + b"".join(slots))
        self._fd = safe_files.open_regular(self._path, os.O_RDWR)


def _slot(name: str, value: int) -> bytes:
    text = b"%s %010d" % (name.encode("ascii"), value)
    return (b"%s %08x" % (text, binascii.crc32(text))).ljust(SLOT_SIZE - 1) + b"\n"


def _parse(slot: bytes) -> tuple[str, int] | None:
    match = _SLOT.fullmatch(slot)
    if match is None or len(slot) != SLOT_SIZE:
        return None
    value = int(match[2])
    if int(match[3], 16) != binascii.crc32(b"%s %s" % (match[1], match[2])) or value > MAX_VALUE:
        return None
    return match[1].decode("ascii"), value
