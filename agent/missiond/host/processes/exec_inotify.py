# SPDX-License-Identifier: Apache-2.0
"""News of started programs on the host, without privilege and without looking.

The kernel opens the dynamic linker for nearly every program that is executed (execve(2), ld.so(8)), and
inotify(7) tells of that. It does not tell which program: that is for the reader of the one or two control
groups in question to find out. Events that nobody has read yet are one event, so that a storm of programs
costs one wake-up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from missiond.host import inotify

_LOGGER = logging.getLogger(__name__)
_LINKERS = ("ld-linux*.so.*", "ld-musl-*.so.*", "ld64.so.*", "ld.so.*")
_DIRECTORIES = (Path("/lib64"), Path("/lib"), Path("/lib32"), Path("/usr/lib"))
_LIBRARIES = (Path("/lib"), Path("/usr/lib"))


def linkers() -> list[Path]:
    """Every dynamic linker of this host, each file once."""
    multiarch = [found for base in _LIBRARIES for found in base.glob("*-linux-*") if found.is_dir()]
    files: dict[tuple[int, int], Path] = {}
    for directory in (*_DIRECTORIES, *multiarch):
        for pattern in _LINKERS:
            for file in directory.glob(pattern):
                try:
                    found = file.resolve(strict=True).stat()
                except (OSError, RuntimeError):
                    continue
                files.setdefault((found.st_dev, found.st_ino), file)
    return list(files.values())


class ExecWatch:
    """Calls back after programs have been started. Raises OSError where inotify cannot be had."""

    def __init__(self, callback: Callable[[], None], files: Iterable[Path] | None = None) -> None:
        self._callback = callback
        self._files = files
        self._watches: set[int] = set()
        self._inotify = inotify.Inotify(self._event)
        self._add()

    def __bool__(self) -> bool:
        return bool(self._watches)

    def close(self) -> None:
        """Hear nothing any more."""
        self._inotify.close()

    def _add(self) -> None:
        for file in linkers() if self._files is None else self._files:
            try:
                self._watches.add(self._inotify.add(file, inotify.OPEN | inotify.ATTRIB))
            except OSError as error:
                _LOGGER.warning("%s cannot be watched: %s", file, error.strerror)

    def _event(self, watch: int, mask: int, _name: str) -> None:
        if mask & (inotify.IGNORED | inotify.ATTRIB):
            # the package of the C library was upgraded: what programs open now is another file
            if mask & inotify.IGNORED:
                self._watches.discard(watch)
            self._add()
        self._callback()
