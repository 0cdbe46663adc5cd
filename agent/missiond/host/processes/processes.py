# SPDX-License-Identifier: Apache-2.0
"""The identity and the exit of processes, safe against reuse of pids.

A pid alone may be used again at any time. A process is therefore told by pid and start time, and looked at
and watched through a pidfd (pidfd_open(2)), which stays with the process for which it was opened.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
from collections.abc import Callable
from dataclasses import dataclass, field

from missiond.host.processes import applications
from missiond.host.processes.procfs import ProcDirectory

_LOGGER = logging.getLogger(__name__)
_MAX_PID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Process:
    """One process: `pid` and `start_ticks` (clock ticks since boot) are the identity, the rest one look.

    `uid` is the real one. `app_id` is printable, 1 to 255 characters. `unit` is the systemd
    service or scope, None where there is none.
    """

    pid: int
    uid: int
    start_ticks: int
    app_id: str
    unit: str | None


def inspect(pid: int) -> Process:
    """Look at a live process.

    Raises ProcessLookupError where there is none (a thread or a zombie is none, nor is one that /proc hides),
    and OSError where too many files are open.
    """
    pidfd = _open_pidfd(pid)
    try:
        with ProcDirectory(pid) as directory:
            unit, app_id = applications.of_process(directory)
            process = Process(pid, directory.uid(), directory.start_ticks(), app_id, unit)
        # All of it was of the process that the pidfd names only if that one is still alive.
        _check_alive(pidfd, pid)
        return process
    finally:
        os.close(pidfd)


class ExitWatch:
    """A subscription to a process's exit; to be closed once needless."""

    def __init__(self, watched: _Watched, callback: Callable[[], None]) -> None:
        self._watched: _Watched | None = watched
        self._callback = callback

    def close(self) -> None:
        """Hear nothing; more than once does no harm."""
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.forget(self)

    def tell(self) -> None:
        """Call back, once, unless closed."""
        if self._watched is not None:
            self._watched = None
            self._callback()


@dataclass(slots=True, eq=False)
class _Watched:
    """A process, and everybody who waits for its exit."""

    pidfd: int
    abandoned: Callable[[], None]
    watches: dict[ExitWatch, None] = field(default_factory=dict)

    def forget(self, watch: ExitWatch) -> None:
        self.watches.pop(watch, None)
        if not self.watches:
            self.abandoned()


class ProcessWatch:
    """News of exits within milliseconds: one pidfd per process in the loop, however many subscribe."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._watched: dict[tuple[int, int], _Watched] = {}

    def __len__(self) -> int:
        """How many processes are watched."""
        return len(self._watched)

    def watch(self, pid: int, start_ticks: int, callback: Callable[[], None]) -> ExitWatch:
        """Call back once, from the loop, when the process started at `start_ticks` has exited.

        Raises ProcessLookupError where it has already, and OSError where too many files are open.
        """
        key = (pid, start_ticks)
        watched = self._watched.get(key)
        if watched is None:
            watched = _Watched(_open_same(pid, start_ticks), lambda: self._abandon(key))
            self._watched[key] = watched
            self._loop.add_reader(watched.pidfd, self._exited, key)
        watch = ExitWatch(watched, callback)
        watched.watches[watch] = None
        return watch

    def close(self) -> None:
        """Stop watching all."""
        for key in list(self._watched):
            self._drop(key)

    def _abandon(self, key: tuple[int, int]) -> None:
        self._drop(key)

    def _drop(self, key: tuple[int, int]) -> _Watched | None:
        watched = self._watched.pop(key, None)
        if watched is not None:
            self._loop.remove_reader(watched.pidfd)
            os.close(watched.pidfd)
        return watched

    def _exited(self, key: tuple[int, int]) -> None:
        watched = self._drop(key)
        for watch in list(watched.watches) if watched is not None else ():
            try:
                watch.tell()
            except Exception:
                _LOGGER.exception("the exit of process %d was not dealt with", key[0])


def _open_pidfd(pid: int) -> int:
    if not 0 < pid <= _MAX_PID:
        raise ProcessLookupError(errno.ESRCH, f"no process {pid}")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        # A thread is EINVAL, or ENOENT on later kernels.
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None
        raise


def _check_alive(pidfd: int, pid: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if poll.poll(0):
        raise ProcessLookupError(errno.ESRCH, f"process {pid} exited")


def _check_same(directory: ProcDirectory, start_ticks: int) -> None:
    if directory.start_ticks() != start_ticks:
        raise ProcessLookupError(errno.ESRCH, f"process {directory.pid} exited, and its pid is used again")


def _open_same(pid: int, start_ticks: int) -> int:
    """Open a pidfd of that very process."""
    pidfd = _open_pidfd(pid)
    try:
        with ProcDirectory(pid) as directory:
            _check_same(directory, start_ticks)
        _check_alive(pidfd, pid)
    except BaseException:
        os.close(pidfd)
        raise
    return pidfd
