# SPDX-License-Identifier: Apache-2.0
"""Named counters on disk, continued after a crash."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from missiond.core import schema
from missiond.core.schema import U32, Form, Length, Range
from missiond.store import safe_files
from missiond.store.saved_file import SavedFile

MAX_VALUE = U32
_LIMIT = 4096
_MOST = 63
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_SLOTS = b"missiond counters 1"
"""Begin of a file of the first version: 64 bytes a line, with the name and the value in ten digits."""
_SLOT = re.compile(rb"^([a-z][a-z0-9-]{0,31}) ([0-9]{10}) [0-9a-f]{8} *$", re.MULTILINE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Saved:
    values: Annotated[
        dict[Annotated[str, Form(_NAME.pattern, "a name")], Annotated[int, Range(0, MAX_VALUE)]],
        Length(_MOST),
    ]


class Counters:
    """Counters from 1 to 2**32-1 and again from 1, in one file, written anew by each step.

    A counter never fails: when the file cannot be read or written it counts in memory, says so in the log
    once, and ``failing`` is true until a write succeeds.
    """

    def __init__(self, path: str | Path) -> None:
        """:param path: the file; made when missing (with the directory)."""
        self._path = Path(path)
        self._file = SavedFile(self._path, lambda json: schema.load(_Saved, json))
        self.failing = False
        self._values = self._read()
        self._sound = set(self._values)
        """Names of counters read from the file or stepped already: their values are no guess."""
        self._write()

    def next(self, name: str, skip: Callable[[int], bool] | None = None) -> int:
        """Step the counter and return the new value, first 1.

        :param skip: tells whether a value is still in use; such values are passed over. It must be false for
            some value.
        :raises ValueError: ``name`` is not of the form ``[a-z][a-z0-9-]{0,31}``, or there are too many names.
        """
        value = self._value(name) % MAX_VALUE + 1
        while skip is not None and skip(value):
            value = value % MAX_VALUE + 1
        self._values[name] = value
        self._sound.add(name)
        self._write()
        return value

    def at_least(self, name: str, value: int) -> None:
        """Raise the counter to ``value``, the id of a live task, unless beyond already.

        To be called for every live id after a start. A counter read from a sound file is moved by less than
        half its range at most, so that a high id from before a wrap does not undo the wrap.

        :raises ValueError: bad name, or value not in 1 … 2**32-1.
        """
        if not 1 <= value <= MAX_VALUE:
            raise ValueError(f"counter value {value} is out of range")
        old = self._value(name)
        ahead = (value - old) % MAX_VALUE
        if 0 < ahead < MAX_VALUE // 2 if name in self._sound else value > old:
            self._values[name] = value
            self._write()

    def save_again(self) -> None:
        """Write all counters after a failed write."""
        if self.failing:
            self._write()

    def _value(self, name: str) -> int:
        if name not in self._values:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a counter")
            if len(self._values) >= _MOST:
                raise ValueError("too many counters")
        return self._values.get(name, 0)

    def _read(self) -> dict[str, int]:
        with contextlib.suppress(OSError):
            data = safe_files.read_regular(self._path, _LIMIT)
            if data.startswith(_SLOTS):
                return {match[1].decode(): min(int(match[2]), MAX_VALUE) for match in _SLOT.finditer(data)}
        saved = self._file.read()
        return saved.values if saved is not None else {}

    def _write(self) -> None:
        try:
            self._file.write(_Saved(self._values))
        except OSError as error:
            if not self.failing:
                self.failing = True
                _log.error("cannot save counters, ids may repeat after the next start: %s", error)
            return
        if self.failing:
            self.failing = False
            _log.warning("counters are saved again")
