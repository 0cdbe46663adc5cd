# SPDX-License-Identifier: Apache-2.0
"""Cgroups that may be touched: below a user's slice (cgroups(7))."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from missiond.helper.requests import Kill, Thaw

_MOUNT = Path("/sys/fs/cgroup")
ROOT = _MOUNT if (_MOUNT / "cgroup.procs").exists() else _MOUNT / "unified"
"""Beside the older hierarchies, the unified one is a directory deeper."""

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def thaw(request: Thaw, root: Path = ROOT) -> None:
    """Let it go on; raises OSError."""
    _write(request, "cgroup.freeze", b"0", root)


def kill(request: Kill, root: Path = ROOT) -> None:
    """SIGKILL to all of a service or scope; raises OSError, PermissionError for anything else.

    A user's manager is no such thing: with it would go all that the user has.
    """
    name = request.path.rpartition("/")[2]
    if not name.endswith((".scope", ".service")) or name.startswith("user@"):
        raise PermissionError(errno.EPERM, f"{name} is not to be killed")
    _write(request, "cgroup.kill", b"1", root)


def _write(request: Thaw | Kill, name: str, data: bytes, root: Path) -> None:
    """Write to a file of the cgroup, opened one directory after the other, so that no link leads astray."""
    directory = os.open(root, _DIRECTORY)
    try:
        for part in request.path.split("/"):
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        if os.fstat(directory).st_ino != request.inode:
            raise FileNotFoundError(errno.ENOENT, "another cgroup has that path now")
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
    finally:
        os.close(directory)
