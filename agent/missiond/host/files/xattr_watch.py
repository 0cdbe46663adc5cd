# SPDX-License-Identifier: Apache-2.0
"""Word that attributes of a directory have changed, extended ones too, by inotify(7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from missiond.host.files import inotify
from missiond.host.files.inotify import Inotify

_LOGGER = logging.getLogger(__name__)


class AttributeWatch:
    """Calls back without saying where; nothing is open while nothing is watched."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._inotify: Inotify | None = None
        self._watches: dict[Path, int] = {}

    def add(self, path: Path) -> None:
        """Watch it; one that can't be watched is passed over."""
        if path in self._watches:
            return
        try:
            if self._inotify is None:
                self._inotify = Inotify(self._event)
            self._watches[path] = self._inotify.add(path, inotify.ATTRIB | inotify.ONLY_DIRECTORY)
        except OSError as error:
            _LOGGER.debug("can't watch %s: %s", path, error)

    def remove(self, path: Path) -> None:
        """Watch it no longer."""
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
        if not name and not mask & inotify.IGNORED:
            self._changed()
