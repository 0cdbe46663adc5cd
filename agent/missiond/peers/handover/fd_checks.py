# SPDX-License-Identifier: Apache-2.0
"""File descriptors that the agent hands over: what they must be, before anything is done with them."""

from __future__ import annotations

import fcntl
import os
import stat

from missiond.core.schema import I63
from missiond.errors import InvalidParameter, MemoryFailed


def to_read(fd: int, offset: int, size: int) -> int:
    """Return a duplicate of one that a state of `size` bytes is read from; raises InvalidParameter."""
    _check(fd, offset, size, (os.O_RDONLY, os.O_RDWR), "reading")
    if os.fstat(fd).st_size < size:
        raise InvalidParameter("the file with the state is shorter than its size says")
    return _duplicate(fd)


def to_write(fd: int, offset: int, size: int) -> int:
    """Return a duplicate of one that a state is written to, at its end `offset`; raises InvalidParameter."""
    _check(fd, offset, size, (os.O_WRONLY, os.O_RDWR), "writing")
    length = os.fstat(fd).st_size
    if length != offset:
        raise InvalidParameter(f"the file for the state has {length} bytes, and offset is {offset}")
    return _duplicate(fd)


def length(fd: int) -> int:
    """Return how long the file is."""
    return os.fstat(fd).st_size


def _check(fd: int, offset: int, size: int, modes: tuple[int, ...], what: str) -> None:
    """See to it that no call on it can block for long."""
    if not 0 <= offset <= size <= I63:
        raise InvalidParameter("offset must be from 0 to size")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise InvalidParameter("state goes through files or memfds only")
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE not in modes:
        raise InvalidParameter(f"the file descriptor must be open for {what}")


def _duplicate(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        raise MemoryFailed(f"no file descriptor is left: {error.strerror}") from None
