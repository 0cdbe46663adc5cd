# SPDX-License-Identifier: Apache-2.0
"""Processes that may be touched: those of people, and of the system users that the administrator named."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterator

from missiond.helper.requests import Adjust, Signal
from missiond.host.procfs import ProcDirectory

_FIRST_HUMAN = 1000
_LAST_HOMED = 60513
_FIRST_LARGE = 65536


class Users:
    """Whose processes may be touched.

    People are uids from 1000 to 60513 and from 65536 on; those between are systemd's for services
    (systemd's "Users, Groups, UIDs and GIDs"). `system` are more uids.
    """

    def __init__(self, system: frozenset[int] = frozenset()) -> None:
        self._system = system

    def __contains__(self, uid: int) -> bool:
        return uid in self._system or _FIRST_HUMAN <= uid <= _LAST_HOMED or uid >= _FIRST_LARGE


@contextlib.contextmanager
def verified(pid: int, start_ticks: int, users: Users | None) -> Iterator[tuple[int, ProcDirectory]]:
    """Pidfd and directory of that very process.

    Raises ProcessLookupError where it is gone, PermissionError where any of its uids is not among `users`
    (None: anybody's will do).
    """
    pidfd = os.pidfd_open(pid)
    try:
        with ProcDirectory(pid) as directory:
            if directory.start_ticks() != start_ticks:
                raise ProcessLookupError(errno.ESRCH, f"no process {pid} of that time")
            uids = _uids(directory.read("status"))
            if users is not None and not all(uid in users for uid in uids):
                raise PermissionError(errno.EPERM, f"process {pid} is of uid {min(uids)}")
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if poll.poll(0):
                raise ProcessLookupError(errno.ESRCH, f"process {pid} exited")
            yield pidfd, directory
    finally:
        os.close(pidfd)


def adjust(request: Adjust, users: Users) -> None:
    """Change oom_score_adj; done already is done. Raises OSError, EAGAIN where it was neither value."""
    with verified(request.pid, request.start_ticks, users) as (_, directory):
        now = int(directory.read("oom_score_adj"))
        if now == request.after:
            return
        if now != request.before:
            raise OSError(errno.EAGAIN, f"oom_score_adj is {now}")
        directory.write("oom_score_adj", b"%d" % request.after)


def send(request: Signal, users: Users) -> None:
    """Send the signal; raises OSError."""
    with verified(request.pid, request.start_ticks, users) as (pidfd, _):
        signal.pidfd_send_signal(pidfd, signal.Signals[f"SIG{request.name}"])


def _uids(status: bytes) -> list[int]:
    """Real, effective, saved and file system uid (proc(5))."""
    for line in status.split(b"\n"):
        if line.startswith(b"Uid:"):
            return [int(word) for word in line.split()[1:]]
    raise PermissionError(errno.EPERM, "no uids in /proc/PID/status")
