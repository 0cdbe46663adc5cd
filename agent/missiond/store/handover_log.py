# SPDX-License-Identifier: Apache-2.0
"""The durable log of hand-overs: one JSON file for each, the state beside the file, and the fences."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from missiond.core import schema
from missiond.core.handover.record import Record
from missiond.store import safe_files
from missiond.store.saved_file import decode, encode

FILE_LIMIT = 4 << 20
MOST_FENCES = 1024
"""Number of newest fences kept; the other host repeats a forgotten one."""
_FENCES = "fences.json"
_RECORD = re.compile(r"([0-9a-f]{32})\.json", re.ASCII)
_STATE = re.compile(r"([0-9a-f]{32})\.state", re.ASCII)
_DAMAGED = re.compile(r"([0-9a-f]{32})\.json\.invalid", re.ASCII)
_DIRECTORY = os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundHandover:
    """Records and fences of an earlier daemon, for `Handovers.load`."""

    records: list[Record]
    fences: dict[str, int]
    unreadable: list[str]
    """Transfers with damaged records, now or since earlier; the states are kept."""


class HandoverFiles:
    """The files ``<transfer>.json`` and ``<transfer>.state`` of a directory. Methods block for fsync(2)."""

    def __init__(self, directory: str | Path) -> None:
        """:param directory: made when first needed, mode 0700."""
        self._directory = Path(directory)
        self._fd: int | None = None
        self._fences: dict[str, int] = {}

    def save(self, record: Record) -> None:
        """Write or replace a record durably.

        :raises OSError: it was not saved (ENOSPC, EROFS …); see `regular_files.replace`.
        """
        data = encode(schema.dump(record))
        safe_files.replace(f"{record.transfer}.json", data, dir_fd=self.open(), durable=True)

    def remove(self, transfer: str) -> None:
        """Delete record and state; missing files are no error.

        :raises OSError: the record may still be there.
        """
        dir_fd = self.open()
        # In this order: a state without a record is removed later, a record without one is a lost mission.
        for name in (f"{transfer}.json", f"{transfer}.state", f"{transfer}.state.part"):
            _unlink(name, dir_fd)
        os.fsync(dir_fd)

    def save_fence(self, identity: str, fence: int) -> None:
        """Write down the highest fence of an identity, as `save`."""
        fences = {name: value for name, value in self._fences.items() if name != identity}
        fences[identity] = max(fence, self._fences.get(identity, 0))
        while len(fences) > MOST_FENCES:
            del fences[next(iter(fences))]
        data = encode({"fences": fences})
        safe_files.replace(_FENCES, data, dir_fd=self.open(), durable=True)
        self._fences = fences

    def load(self) -> FoundHandover:
        """Return all readable records and fences.

        A damaged record is logged, renamed to ``*.invalid``, and named; its state stays. States and parts of
        states that belong to no record are removed.

        :raises OSError: the directory cannot be read. Nothing may be handed over then, since nobody knows
            what was promised.
        """
        dir_fd = self.open()
        names = sorted(os.listdir(dir_fd))  # noqa: PTH208 (a descriptor)
        records: list[Record] = []
        unreadable = {match[1] for name in names if (match := _DAMAGED.fullmatch(name))}
        for name in names:
            if match := _RECORD.fullmatch(name):
                record = _load_record(name, match[1], dir_fd)
                if record is not None:
                    records.append(record)
                else:
                    unreadable.add(match[1])
        kept = unreadable | {record.transfer for record in records}
        for name in names:
            match = _STATE.fullmatch(name)
            if name.endswith((".tmp", ".part")) or (match and match[1] not in kept):
                _unlink(name, dir_fd)
        self._fences = _load_fences(dir_fd)
        return FoundHandover(records, dict(self._fences), sorted(unreadable))

    def open(self) -> int:
        """Return a descriptor of the directory, owned by this object."""
        if self._fd is None or os.fstat(self._fd).st_nlink == 0:
            self.close()
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._directory, _DIRECTORY)
        return self._fd

    def close(self) -> None:
        """Close the directory; later use opens the directory again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _unlink(name: str, dir_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return


def _load_record(name: str, transfer: str, dir_fd: int) -> Record | None:
    try:
        content = decode(safe_files.read_regular(name, FILE_LIMIT, dir_fd=dir_fd))
        return _of(transfer, schema.load(Record, content, exact=True))
    except (OSError, ValueError, RecursionError) as error:
        _log.error("the record of hand-over %s is not readable (%s), kept as *.invalid", transfer, error)
        _set_aside(name, dir_fd)
        return None


def _of(transfer: str, record: Record) -> Record:
    if record.transfer != transfer:
        raise ValueError("it is another transfer's")
    return record


def _load_fences(dir_fd: int) -> dict[str, int]:
    try:
        fences = decode(safe_files.read_regular(_FENCES, FILE_LIMIT, dir_fd=dir_fd)).get("fences")
        return _check_fences(fences)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.error("the fences of hand-overs are not readable (%s), kept as *.invalid", error)
        _set_aside(_FENCES, dir_fd)
        return {}


def _check_fences(fences: object) -> dict[str, int]:
    if not isinstance(fences, dict) or not all(type(value) is int and value > 0 for value in fences.values()):
        raise ValueError("no fences")
    return fences


def _set_aside(name: str, dir_fd: int) -> None:
    try:
        safe_files.set_aside(name, dir_fd=dir_fd)
    except OSError as error:
        _log.error("%s stays where it is: %s", name, error)
