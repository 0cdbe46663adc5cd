# SPDX-License-Identifier: Apache-2.0
"""Word that a file has come, by inotify(7)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from missiond.host.files import inotify
from missiond.host.files.inotify import Inotify


class Reappearing:
    """Calls back each time that something happens to a path; raises OSError where its directory is missing.

    Attributes count: a socket is there before its mode is, and systemd touches it once it listens.
    """

    def __init__(self, path: Path, callback: Callable[[], None]) -> None:
        self._name = path.name
        self._callback = callback
        self._inotify = Inotify(self._event)
        try:
            self._inotify.add(path.parent, inotify.CREATE | inotify.ATTRIB | inotify.ONLY_DIRECTORY)
        except OSError:
            self._inotify.close()
            raise

    def close(self) -> None:
        """Watch no longer."""
        self._inotify.close()

    def _event(self, _watch: int, mask: int, name: str) -> None:
        if name == self._name or mask & inotify.OVERFLOW:
            self._callback()
