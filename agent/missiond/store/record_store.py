# SPDX-License-Identifier: Apache-2.0
"""One small JSON file for each record, read by the next daemon."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from missiond.core import schema
from missiond.store import safe_files
from missiond.store.saved_file import Json, decode, encode

T = TypeVar("T")
FILE_LIMIT = 1 << 20
_MAX_ID = 2**32 - 1
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_DIRECTORY = os.O_DIRECTORY | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger(__name__)


class RecordStore:
    """The files ``<directory>/<kind>/<id>``; kinds are words such as ``transient`` and ``continuous``."""

    def __init__(self, directory: str | Path) -> None:
        """:param directory: where the kinds' directories are; made when first needed, mode 0700."""
        self._directory = Path(directory)
        self._kinds: dict[str, int] = {}

    def save(self, kind: str, lease_id: int, record: dict[str, Any]) -> None:
        """Write or replace one record, atomically.

        :param lease_id: 1 … 2**32-1.
        :param record: anything JSON can express, under string keys other than ``version``.
        :raises ValueError: bad kind, id, number (NaN) or size.
        :raises TypeError: the record holds what JSON cannot express.
        :raises OSError: the record was not saved (ENOSPC, EROFS …); an older one is untouched.
        """
        if not 1 <= lease_id <= _MAX_ID:
            raise ValueError(f"lease id {lease_id} is out of range")
        if "version" in record:
            raise ValueError("'version' is not a key for callers")
        data = encode(record)
        if len(data) > FILE_LIMIT:
            raise ValueError(f"a lease record of {len(data)} bytes is too large")
        name = str(lease_id)
        try:
            safe_files.replace(name, data, dir_fd=self._open(kind))
        except FileNotFoundError:
            # Somebody removed the directory under us: make it again, once.
            self._forget(kind)
            safe_files.replace(name, data, dir_fd=self._open(kind))

    def remove(self, kind: str, lease_id: int) -> None:
        """Delete one record; a missing one is no error.

        :raises OSError: the record may still be there.
        """
        try:
            os.unlink(str(lease_id), dir_fd=self._open(kind))
        except FileNotFoundError:
            return

    def load(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """Return every readable record, by ascending id.

        What cannot be read is logged, renamed to ``*.invalid`` and skipped; left-over temporary files are
        removed. A directory that cannot be read is logged and counts as empty.
        """
        try:
            dir_fd = self._open(kind)
            names = sorted(os.listdir(dir_fd))  # noqa: PTH208 (a descriptor)
        except OSError as error:
            _log.error("cannot read the saved %s tasks: %s", kind, error)
            return []
        found = [record for name in names if (record := _load_one(kind, name, dir_fd)) is not None]
        return sorted(found, key=lambda item: item[0])

    def reject(self, kind: str, lease_id: int, error: Exception) -> None:
        """Log a senseless record and set the file aside as ``load`` does; never raises."""
        try:
            _reject(kind, str(lease_id), self._open(kind), error)
        except OSError as second:
            _log.error(
                "saved %s task %d makes no sense (%s), and neither can it go (%s)",
                kind,
                lease_id,
                error,
                second,
            )

    def close(self) -> None:
        """Close the directories; later use opens the directories again."""
        for kind in list(self._kinds):
            self._forget(kind)

    def _open(self, kind: str) -> int:
        dir_fd = self._kinds.get(kind)
        if dir_fd is None:
            if not _KIND.fullmatch(kind):
                raise ValueError(f"{kind!r} is no kind of lease")
            path = self._directory / kind
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            dir_fd = self._kinds[kind] = os.open(path, _DIRECTORY)
        return dir_fd

    def _forget(self, kind: str) -> None:
        os.close(self._kinds.pop(kind))


class Store(Generic[T]):
    """The records of one kind in a `RecordStore`, as values of one type."""

    def __init__(
        self,
        files: RecordStore,
        kind: str,
        load: Callable[[int, Json], T],
        dump: Callable[[T], Json] = schema.dump,
    ) -> None:
        """:param load: a record by id and JSON; raises ValueError where the JSON is none."""
        self._files = files
        self._kind = kind
        self._load = load
        self._dump = dump

    def save(self, number: int, record: T) -> None:
        """Write or replace one; see `RecordStore.save`."""
        self._files.save(self._kind, number, self._dump(record))

    def remove(self, number: int) -> None:
        """Delete one; see `RecordStore.remove`."""
        self._files.remove(self._kind, number)

    def load(self, seen: Callable[[int], object] | None = None) -> dict[int, T]:
        """Return all by ascending id; damaged ones are logged and set aside.

        :param seen: called with the id of each, of those too that are JSON and make no sense.
        """
        found = {}
        for number, record in self._files.load(self._kind):
            if seen is not None:
                seen(number)
            try:
                found[number] = self._load(number, record)
            except ValueError as error:
                self.reject(number, error)
        return found

    def reject(self, number: int, error: Exception) -> None:
        """Log a senseless record and set the file aside; never raises."""
        self._files.reject(self._kind, number, error)


def of(kind: type[T]) -> Callable[[int, Json], T]:
    """Return the loader for records of a dataclass without a field for the id."""
    return lambda _, record: schema.load(kind, record)


def _load_one(kind: str, name: str, dir_fd: int) -> tuple[int, dict[str, Any]] | None:
    if name.endswith(".invalid"):
        return None
    try:
        if name.endswith(".tmp"):
            os.unlink(name, dir_fd=dir_fd)
            return None
        return _parse_id(name), decode(safe_files.read_regular(name, FILE_LIMIT, dir_fd=dir_fd))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        _reject(kind, name, dir_fd, error)
        return None


def _parse_id(name: str) -> int:
    if not _ID.fullmatch(name) or int(name) > _MAX_ID:
        raise ValueError("the name is not an id")
    return int(name)


def _reject(kind: str, name: str, dir_fd: int, error: Exception) -> None:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    try:
        aside = safe_files.set_aside(name, dir_fd=dir_fd)
    except OSError as second:
        where = "and left where it is" if second.errno != errno.EROFS else "on a read-only file system"
        _log.error("saved %s task %.64r is not readable (%s), skipped %s", kind, name, reason, where)
    else:
        _log.error("saved %s task %.64r is not readable (%s), kept as %.72r", kind, name, reason, aside)
