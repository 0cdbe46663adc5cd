# SPDX-License-Identifier: Apache-2.0
"""Cgroups open to requests: below a user's slice (cgroups(7)), and units of touchable users."""

from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path

from missiond.helper import paths
from missiond.helper.processes import Users, verified
from missiond.helper.requests import Avoid, Back, Drop, Forget, Keep, Kill, OfCgroup, Thaw
from missiond.host.processes.procfs import ProcDirectory, parse_real_uid
from missiond.host.processes.tree import unified

_MOUNT = Path("/sys/fs/cgroup")
ROOT = _MOUNT if (_MOUNT / "cgroup.procs").exists() else _MOUNT / "unified"
"""Beside the older hierarchies, the unified one is a directory deeper."""
AVOID = "user.oomd_avoid"
"""The attribute of ManagedOOMPreference=avoid (systemd.resource-control(5))."""

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def thaw(request: Thaw, users: Users, root: Path = ROOT) -> None:
    """Thaw a cgroup; raises OSError, PermissionError where no one of `users` has the cgroup."""
    _check_owner(request.path, users)
    with _opened(request, root) as directory:
        _write(directory, "cgroup.freeze", b"0")


def kill(request: Kill, users: Users, root: Path = ROOT) -> None:
    """Send SIGKILL to all of a service, a scope or a kept group; raises OSError, PermissionError as thaw."""
    _check_owner(request.path, users)
    with _opened(request, root) as directory:
        _write(directory, "cgroup.kill", b"1")


def keep(request: Keep, users: Users, root: Path = ROOT) -> None:
    """Move a process out of reach of a logout; more than once does no harm. Raises OSError.

    Only from a session, or another group, in the slice of the process' own user: from nowhere else can a
    process be taken away from whoever looks after it. Nor from a session with limits, or from a cgroup that
    somebody made below one: whoever set them (session-.scope.d, pam_systemd(8), LXC) means to keep them.
    """
    with verified(request.pid, request.start_ticks, users) as (pidfd, process):
        uid, here = parse_real_uid(process.read("status")), _cgroup(process)
        session = paths.session_of(here)
        owner = session[0] if session is not None else paths.keeper_of(here)
        if owner != uid or (session is not None and session[1] != here):
            raise PermissionError(errno.EPERM, f"process {request.pid} is in no session of uid {uid}")
        if session is not None and is_limited(root / here):
            raise PermissionError(errno.EPERM, f"the session of process {request.pid} has limits")
        with _walked(paths.keeper(uid), root) as unit:
            with contextlib.suppress(FileExistsError):
                os.mkdir(request.group, dir_fd=unit)
                # As visible as other cgroups, whatever the umask.
                os.chmod(request.group, 0o755, dir_fd=unit)  # noqa: S103
            with _inner(unit, request.group) as group:
                _attach(group, request.pid, pidfd)


def is_limited(directory: Path) -> bool:
    """Whether a cgroup has an own limit on memory, swap, processes or processor time (cgroups(7))."""
    for name in ("memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max"):
        with contextlib.suppress(OSError):
            if not (directory / name).read_bytes().startswith(b"max"):
                return True
    return False


def back(request: Back, users: Users, root: Path = ROOT) -> None:
    """Move a kept process to the session of before; raises OSError.

    That cgroup is systemd's own, but the process, or the one it comes from, was born there by its leave.
    Whose it is does not matter: it may have become another user's meanwhile, by sudo for example.
    """
    with verified(request.pid, request.start_ticks, None) as (pidfd, process):
        kept, session = paths.keeper_of(_cgroup(process)), paths.session_of(request.path)
        if kept is None or session is None or kept != session[0] or kept not in users:
            raise PermissionError(errno.EPERM, f"process {request.pid} is not kept")
        with _walked(request.path, root, request.inode) as directory:
            _attach(directory, request.pid, pidfd)


def drop(request: Drop, root: Path = ROOT) -> None:
    """Remove a group; raises OSError, EBUSY while something is inside."""
    with _opened(request, root):
        parent, _, name = request.path.rpartition("/")
        with _walked(parent, root) as unit:
            os.rmdir(name, dir_fd=unit)


def avoid(request: Avoid, users: Users, root: Path = ROOT) -> None:
    """Mark the cgroup of a process; raises OSError, FileExistsError where the attribute is there."""
    with verified(request.pid, request.start_ticks, users) as (_, process):
        path = _cgroup(process)
        try:
            paths.check_in_unit(path)
        except ValueError as error:
            raise PermissionError(errno.EPERM, str(error)) from None
        with _walked(path, root, request.inode) as directory:
            os.setxattr(_link(directory), AVOID, b"1", os.XATTR_CREATE)


def forget(request: Forget, root: Path = ROOT) -> None:
    """Take the mark off; raises OSError."""
    with _opened(request, root) as directory:
        try:
            os.removexattr(_link(directory), AVOID)
        except OSError as error:
            if error.errno != errno.ENODATA:
                raise


def _check_owner(path: str, users: Users) -> None:
    """Apply the rule for processes to the user of the slice around a cgroup."""
    owner = paths.user_of(path)
    if owner is None or owner not in users:
        raise PermissionError(errno.EPERM, f"{path} is in no slice of a person's")


def _cgroup(process: ProcDirectory) -> str:
    return unified(process.read("cgroup"))


def _attach(directory: int, pid: int, pidfd: int) -> None:
    _write(directory, "cgroup.procs", b"%d" % pid)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if poll.poll(0):
        raise ProcessLookupError(errno.ESRCH, f"process {pid} exited")


def _write(directory: int, name: str, data: bytes) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def _opened(request: OfCgroup, root: Path) -> contextlib.AbstractContextManager[int]:
    return _walked(request.path, root, request.inode)


@contextlib.contextmanager
def _walked(path: str, root: Path, inode: int | None = None) -> Iterator[int]:
    """Open a cgroup's directory, one after the other, so that no link leads astray.

    Raises FileNotFoundError where it has another inode number.
    """
    directory = os.open(root, _DIRECTORY)
    try:
        for part in path.split("/"):
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        if inode is not None and os.fstat(directory).st_ino != inode:
            raise FileNotFoundError(errno.ENOENT, "another cgroup has that path now")
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def _inner(directory: int, name: str) -> Iterator[int]:
    inner = os.open(name, _DIRECTORY, dir_fd=directory)
    try:
        yield inner
    finally:
        os.close(inner)


def _link(directory: int) -> str:
    """Return a descriptor of O_PATH as a path, since fsetxattr(2) takes none such."""
    return f"/proc/self/fd/{directory}"
