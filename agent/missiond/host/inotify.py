# SPDX-License-Identifier: Apache-2.0
"""inotify(7) in the running loop; neither the standard library nor psutil nor pyudev offers this."""

from __future__ import annotations

import ctypes
import logging
import os
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from missiond.host.loop_file import LoopFile

_LOGGER = logging.getLogger(__name__)

ACCESS = 0x1
MODIFY = 0x2
ATTRIB = 0x4
OPEN = 0x20
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000
IGNORED = 0x8000
ONLY_DIRECTORY = 0x01000000
IS_DIRECTORY = 0x40000000

_HEADER = struct.Struct("iIII")
_BUFFER = 8192
"""Bytes that are read in one turn of the loop, for a hundred events or more."""

Callback = Callable[[int, int, str], None]
"""Called with watch, mask and name; the watch of an overflow is -1."""


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.inotify_init1.argtypes = (ctypes.c_int,)
    libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
    libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)
    return libc


def _checked(result: int, name: Path | None = None) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), None if name is None else str(name))
    return result


class Inotify:
    """One inotify instance. Raises OSError where the user has too many."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        # IN_NONBLOCK and IN_CLOEXEC are defined as the O_ flags
        fd = _checked(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._file = LoopFile(fd, self._readable)

    def add(self, path: Path, mask: int) -> int:
        """Watch a file or directory and return the watch. Raises OSError."""
        return _checked(_libc().inotify_add_watch(self._file.fd, os.fsencode(path), mask), path)

    def remove(self, watch: int) -> None:
        """End a watch; an ended one is ignored."""
        _libc().inotify_rm_watch(self._file.fd, watch)

    def close(self) -> None:
        """Watch nothing any more; more than once does no harm."""
        self._file.close()

    def _readable(self) -> None:
        data = self._file.read(_BUFFER) or b""
        at = 0
        while at < len(data) and self._file.fd >= 0:
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            name = data[at + _HEADER.size : at + _HEADER.size + length].rstrip(b"\0")
            at += _HEADER.size + length
            self._callback(watch, mask, os.fsdecode(name))


class Reappearing:
    """Watch on a path: calls back at each event; raises OSError where the directory is missing.

    Attributes count: a socket is there before its mode is, and systemd touches it once it listens.
    """

    def __init__(self, path: Path, callback: Callable[[], None]) -> None:
        self._name = path.name
        self._callback = callback
        self._inotify = Inotify(self._event)
        try:
            self._inotify.add(path.parent, CREATE | ATTRIB | ONLY_DIRECTORY)
        except OSError:
            self._inotify.close()
            raise

    def close(self) -> None:
        """Watch no longer."""
        self._inotify.close()

    def _event(self, _watch: int, mask: int, name: str) -> None:
        if name == self._name or mask & OVERFLOW:
            self._callback()


class AttributeWatch:
    """Calls back without saying where; nothing is open while nothing is watched."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._inotify: Inotify | None = None
        self._watches: dict[Path, int] = {}

    def add(self, path: Path) -> None:
        """Watch a directory; an unwatchable one is passed over."""
        if path in self._watches:
            return
        try:
            if self._inotify is None:
                self._inotify = Inotify(self._event)
            self._watches[path] = self._inotify.add(path, ATTRIB | ONLY_DIRECTORY)
        except OSError as error:
            _LOGGER.debug("can't watch %s: %s", path, error)

    def remove(self, path: Path) -> None:
        """End the watch on a directory."""
        watch = self._watches.pop(path, None)
        if watch is not None and self._inotify is not None:
            self._inotify.remove(watch)
        if not self._watches:
            self.close()

    def close(self) -> None:
        """Watch nothing any more."""
        self._watches.clear()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _event(self, _watch: int, mask: int, name: str) -> None:
        if not name and not mask & IGNORED:
            self._changed()
