# SPDX-License-Identifier: Apache-2.0
"""Whether /proc hides from users the processes of others: hidepid= of proc(5), at the host's own /proc.

The agent's unit has a /proc of its own, without that option; users have the one that PID 1 has. The kernel
tells of mounts that change by POLLPRI on mountinfo (proc(5)).
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import Callable, Sequence
from pathlib import Path

_LOGGER = logging.getLogger(__name__)
_PLACES = (Path("/proc/1/mountinfo"), Path("/proc/self/mountinfo"))
_SHOWN = ("0", "off")


class HiddenProcesses:
    """The hidepid= option of /proc: read at once, and each new value is told."""

    def __init__(self, places: Sequence[Path] = _PLACES) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._fd = _open(places)
        self._epoll: select.epoll | None = None
        self.hidden = self._look()
        """Whether users see their own processes alone."""
        if self._fd >= 0:
            try:
                self._watch()
            except OSError as error:
                _LOGGER.warning("it is not heard when /proc is mounted otherwise: %s", error)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back each time `hidden` is another."""
        self._listeners.append(callback)

    def close(self) -> None:
        """Look no more; more than once does no harm."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _watch(self) -> None:
        # An epoll of its own: asyncio can't wait for POLLPRI alone, and the file counts as always readable.
        epoll = select.epoll()
        try:
            epoll.register(self._fd, select.EPOLLPRI)
            asyncio.get_running_loop().add_reader(epoll.fileno(), self._ready)
        except OSError:
            epoll.close()
            raise
        self._epoll = epoll

    def _ready(self) -> None:
        if self._epoll is not None:
            self._epoll.poll(0)
        before, self.hidden = self.hidden, self._look()
        if self.hidden != before:
            _LOGGER.info("/proc %s users the processes of others", "hides from" if self.hidden else "shows")
            for listener in self._listeners:
                listener()

    def _look(self) -> bool:
        """Where it can't be told, nothing is to be given away."""
        if self._fd < 0:
            return True
        try:
            os.lseek(self._fd, 0, os.SEEK_SET)
            content = b""
            while more := os.read(self._fd, 65536):
                content += more
        except OSError:
            return True
        return hides(content.decode(errors="replace"))


def hides(mountinfo: str) -> bool:
    """Whether the latest mount of /proc hides; without one there is nothing to see."""
    hidden = True
    for line in mountinfo.splitlines():
        place, _, what = line.partition(" - ")
        if place.split(" ")[4:5] == ["/proc"] and what.startswith("proc "):
            options = what.rpartition(" ")[2].split(",")
            hidden = any(
                option.startswith("hidepid=") and option.removeprefix("hidepid=") not in _SHOWN
                for option in options
            )
    return hidden


def _open(places: Sequence[Path]) -> int:
    """Open the first that can be read; -1 without any, as where PID 1 is hidden from us."""
    for place in places:
        try:
            return os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
    return -1
