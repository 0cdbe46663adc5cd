# SPDX-License-Identifier: Apache-2.0
"""The wait for events in one cgroup, there or not (cgroups(7))."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from missiond.host import inotify
from missiond.host.processes.tree import CGROUPS

_LOGGER = logging.getLogger(__name__)


class CgroupEvents:
    """Events of a cgroup: made or removed, the first process in, the last one out.

    Without inotify(7) (a user may have only so many) only time passes.
    """

    def __init__(self, path: str, root: Path = CGROUPS) -> None:
        self._directory = root / path
        self._happened = asyncio.Event()
        self._parent = self._events = -1
        self._inotify: inotify.Inotify | None = None
        try:
            self._inotify = inotify.Inotify(self._event)
        except OSError as error:
            _LOGGER.info("can't follow %s: %s", path, error)
        self._watch()

    async def wait(self, seconds: float) -> bool:
        """Return whether something has happened since the last wait, after `seconds` at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._happened.wait()
        happened = self._happened.is_set()
        self._happened.clear()
        return happened

    def poke(self) -> None:
        """Have `wait` return: something has happened elsewhere."""
        self._happened.set()

    def close(self) -> None:
        """Hear nothing any more."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _watch(self) -> None:
        mask = inotify.CREATE | inotify.DELETE | inotify.ONLY_DIRECTORY
        if self._parent < 0:
            self._parent = self._add(self._directory.parent, mask)
        if self._events < 0:
            self._events = self._add(self._directory / "cgroup.events", inotify.MODIFY)

    def _add(self, path: Path, mask: int) -> int:
        if self._inotify is not None:
            with contextlib.suppress(OSError):
                return self._inotify.add(path, mask)
        return -1

    def _event(self, watch: int, mask: int, name: str) -> None:
        if mask & inotify.IGNORED:
            self._parent = -1 if watch == self._parent else self._parent
            self._events = -1 if watch == self._events else self._events
        elif watch == self._parent and name != self._directory.name:
            return
        self._watch()
        self._happened.set()
