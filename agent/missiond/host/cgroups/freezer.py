# SPDX-License-Identifier: Apache-2.0
"""News of frozen or empty cgroups (cgroups(7)): the kernel raises POLLPRI on cgroup.events."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from missiond.helper.requests import Thaw
from missiond.host.processes.tree import CGROUPS

_EVENTS = "cgroup.events"
SHARE, LEAST_REST, LONGEST_REST = 9, 0.002, 0.5
"""Seconds of rest after each second of looking: changes of cgroups in a loop cost a tenth at most."""


class FreezeWatch:
    """Callbacks with the path of each watched cgroup frozen or without processes, now or later.

    An epoll of its own, since asyncio can't wait for POLLPRI alone and the file counts as always readable.
    """

    def __init__(
        self, frozen: Callable[[str], None], emptied: Callable[[str], None], root: Path = CGROUPS
    ) -> None:
        self._frozen = frozen
        self._emptied = emptied
        self._root = root
        self._epoll = select.epoll()
        self._paths: dict[int, str] = {}
        self._fds: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._loop = asyncio.get_running_loop()
        self._resting: asyncio.TimerHandle | None = None
        self._listen()

    def __len__(self) -> int:
        return len(self._fds)

    def watch(self, path: str) -> None:
        """Watch a cgroup, once more; raises OSError where there is none."""
        if path not in self._fds:
            fd = os.open(self._root / path / _EVENTS, os.O_RDONLY | os.O_CLOEXEC)
            self._fds[path], self._paths[fd] = fd, path
            # A fake tree of tests has plain files, which can't be polled.
            with contextlib.suppress(PermissionError):
                self._epoll.register(fd, select.EPOLLPRI)
            self._look(fd)
        self._counts[path] = self._counts.get(path, 0) + 1

    def unwatch(self, path: str) -> None:
        """Watch a cgroup once less."""
        if path not in self._counts:
            return
        self._counts[path] -= 1
        if not self._counts[path]:
            del self._counts[path]
            self._drop(self._fds[path])

    def close(self) -> None:
        """Stop."""
        for fd in list(self._paths):
            self._drop(fd)
        self._counts.clear()
        if self._resting is not None:
            self._resting.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _listen(self) -> None:
        self._resting = None
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def _ready(self) -> None:
        begun = time.monotonic()
        for fd, _ in self._epoll.poll(0):
            self._look(fd)
        rest = min(max(SHARE * (time.monotonic() - begun), LEAST_REST), LONGEST_REST)
        self._loop.remove_reader(self._epoll.fileno())
        self._resting = self._loop.call_later(rest, self._listen)

    def _look(self, fd: int) -> None:
        try:
            content = os.pread(fd, 4096, 0)
        except OSError:  # ENODEV: the cgroup is gone
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)
            content = b"populated 0"
        if b"populated 0" in content:
            self._loop.call_soon(self._emptied, self._paths[fd])
        elif b"frozen 1" in content:
            self._frozen(self._paths[fd])

    def _drop(self, fd: int) -> None:
        del self._fds[self._paths.pop(fd)]
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        os.close(fd)


def frozen_at(path: str, root: Path = CGROUPS) -> list[Thaw]:
    """Return the frozen groups at and above a cgroup, outermost first, inherited freezes left out.

    A user's slice and what is above stay as they are, as do the outermost slices of others: the system
    freezes user.slice when it sleeps.
    """
    parts = path.split("/")
    found = []
    for depth in range(3 if parts[0] == "user.slice" else 2, len(parts) + 1):
        part = "/".join(parts[:depth])
        with contextlib.suppress(OSError):
            if (root / part / "cgroup.freeze").read_bytes().strip() == b"1":
                found.append(Thaw((root / part).stat().st_ino, part))
    return found
