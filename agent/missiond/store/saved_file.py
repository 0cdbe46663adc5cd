# SPDX-License-Identifier: Apache-2.0
"""JSON objects in files, with a version."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from missiond.core import schema
from missiond.store import safe_files

VERSION = 1
Json = dict[str, Any]
T = TypeVar("T")
_LIMIT = 1 << 20
_NO_FILE = {errno.ELOOP, errno.ENXIO}
"""Of open(2) for a link and for a socket."""
_LOGGER = logging.getLogger(__name__)
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode(content: Mapping[str, Any]) -> bytes:
    """Return an object as bytes; raises ValueError for NaN, TypeError for types unknown to JSON."""
    return _encode({"version": VERSION, **content}).encode("ascii")


def decode(data: bytes) -> Json:
    """Return an object without the version; raises ValueError for another version or anything else."""
    content = schema.decode(data)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 (content, not a programming error)
    found = content.pop("version", None)
    if type(found) is not int or found != VERSION:
        raise ValueError(f"version {found!r:.40} is not {VERSION}")
    return content


class SavedFile(Generic[T]):
    """One value in one file, written whole and atomically."""

    def __init__(
        self,
        path: Path,
        load: Callable[[Json], T],
        dump: Callable[[T], Json] = schema.dump,
        *,
        durable: bool = False,
        lost: str = "",
    ) -> None:
        """:param load: a value from JSON; raises ValueError where the JSON is none.

        :param durable: on the disk when `write` returns.
        :param lost: the consequence of a damaged file, for the log.
        """
        self._path = path
        self._load = load
        self._dump = dump
        self._durable = durable
        self._lost = f"; {lost}" if lost else ""
        self._unread = False

    def read(self) -> T | None:
        """Return the value; None, with a log line, for a damaged file, set aside, or an unreadable one, left.

        None for no file as well.
        """
        self._unread = False
        try:
            return self._load(decode(safe_files.read_regular(self._path, _LIMIT)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and not _is_damage(error):
                self._unread = True
                _LOGGER.error("%s is not read (%s)%s", self._path, error, self._lost)
                return None
            try:
                aside = f"kept as {safe_files.set_aside(str(self._path))}"
            except OSError as second:
                aside = f"and not set aside ({second.strerror})"
            _LOGGER.error("%s can't be used (%s), %s%s", self._path, error, aside, self._lost)
            return None

    def write(self, value: T) -> None:
        """Replace the file; raises OSError, with the old content still there.

        A file that could not be read is kept under another name.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._unread:
            with contextlib.suppress(FileNotFoundError):
                safe_files.keep_copy(self._path)
            self._unread = False
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            data = encode(self._dump(value))
            safe_files.replace(self._path.name, data, dir_fd=directory, durable=self._durable)
        finally:
            os.close(directory)


def _is_damage(error: OSError) -> bool:
    """Return whether the file itself is at fault, rather than the disk or a limit of the process."""
    return isinstance(error, safe_files.NotRegularError | safe_files.TooLargeError) or error.errno in _NO_FILE
