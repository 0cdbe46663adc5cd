# SPDX-License-Identifier: Apache-2.0
"""Processes open to requests: of people, and of system users named by the administrator."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import signal
from collections.abc import Iterator

from missiond.core.missions.people import is_person, may_be_named
from missiond.helper import paths
from missiond.helper.capabilities import without_resource
from missiond.helper.requests import Adjust, Raise, Signal
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.processes.tree import unified
from missiond.host.users.user_names import UserNames

PATIENCE = 2.0
"""Seconds for the user database, perhaps another host's."""
_THREADS = 2


class Users:
    """The users with touchable processes: people (core.people), and the uids in `system`."""

    def __init__(self, system: frozenset[int] = frozenset(), names: UserNames | None = None) -> None:
        self._system = system
        self._names = names or UserNames(most=_THREADS)

    @classmethod
    def with_system(cls, names: str) -> Users:
        """People, and users of the system by name or uid, with spaces between; raises KeyError."""
        uids = (int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid for name in names.split())
        return cls(frozenset(uids))

    def __contains__(self, uid: int) -> bool:
        return uid in self._system or is_person(uid, lambda each: self._names.has(each, PATIENCE))

    def have(self, uids: list[int], cgroup: str) -> bool:
        """Whether a process with these uids in this control group may be touched.

        In containers that people run processes have uids without a name (subuid(5)); they are of whom the
        slice is that they are in.
        """
        strangers = [uid for uid in uids if uid not in self]
        if not strangers:
            return True
        owner = paths.user_of(cgroup)
        return owner is not None and owner in self and all(map(may_be_named, strangers))


@contextlib.contextmanager
def verified(pid: int, start_ticks: int, users: Users | None) -> Iterator[tuple[int, ProcDirectory]]:
    """Open a pidfd and the directory of a process, verified by the start time.

    Raises ProcessLookupError where it is gone, PermissionError where any of its uids is not among `users`
    (None: anybody's will do), or where it is a user's service manager, with which all of that user would go.
    """
    pidfd = os.pidfd_open(pid)
    try:
        with ProcDirectory(pid) as directory:
            if directory.start_ticks() != start_ticks:
                raise ProcessLookupError(errno.ESRCH, f"no process {pid} of that time")
            uids = _uids(directory.read("status"))
            cgroup = unified(directory.read("cgroup"))
            if users is not None and not users.have(uids, cgroup):
                raise PermissionError(errno.EPERM, f"process {pid} is of uid {min(uids)}")
            if users is not None and paths.is_manager(cgroup):
                raise PermissionError(errno.EPERM, f"process {pid} is a user's manager")
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if poll.poll(0):
                raise ProcessLookupError(errno.ESRCH, f"process {pid} exited")
            yield pidfd, directory
    finally:
        os.close(pidfd)


def adjust(request: Adjust, users: Users) -> None:
    """Change oom_score_adj; more than once does no harm. Raises OSError, EAGAIN for any third value."""
    with verified(request.pid, request.start_ticks, users) as (_, directory):
        now = directory.oom_score_adj()
        if now == request.after:
            return
        if now != request.before:
            raise OSError(errno.EAGAIN, f"oom_score_adj is {now}")
        directory.write("oom_score_adj", b"%d" % request.after)


def raise_score(request: Raise, users: Users) -> None:
    """Have oom_score_adj be `least` or more; raises OSError.

    What CAP_SYS_RESOURCE writes is also what the process may lower itself to from then on
    (proc_pid_oom_score_adj(5)). So it is written where more is there already, too, and that put back after.
    """
    with verified(request.pid, request.start_ticks, users) as (_, directory):
        now = directory.oom_score_adj()
        try:
            directory.write("oom_score_adj", b"%d" % request.least)
        except PermissionError:
            if now < request.least:
                raise
            return  # nobody may lower it that far
        if now > request.least:
            with without_resource():
                directory.write("oom_score_adj", b"%d" % now)


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
