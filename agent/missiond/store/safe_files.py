# SPDX-License-Identifier: Apache-2.0
"""Reading and replacing small regular files without being led astray by links, FIFOs, devices or size."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Container
from pathlib import Path

# O_NONBLOCK: opening a FIFO returns at once, so that it can be refused. O_NOCTTY: no terminal is adopted.
SAFE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
PRIVATE_MODE = 0o600


class NotRegularError(OSError):
    """The name stands for a directory, FIFO, socket or device."""

    def __init__(self, name: str) -> None:
        super().__init__(errno.EINVAL, "not a regular file", name)


class TooLargeError(OSError):
    """The file is larger than the reader accepts."""

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(errno.EFBIG, f"larger than {limit} bytes", name)


class ForeignFileError(OSError):
    """A file writable by others than the trusted owners."""

    def __init__(self, name: str) -> None:
        super().__init__(errno.EPERM, "not root's alone; have root own it, and nobody else write to it", name)


def is_trusted(found: os.stat_result, owners: Container[int]) -> bool:
    """Return whether only these users (and the group root) can change a file."""
    writable = found.st_mode & (stat.S_IWOTH if found.st_gid == 0 else stat.S_IWOTH | stat.S_IWGRP)
    return found.st_uid in owners and (stat.S_ISLNK(found.st_mode) or not writable)


def open_regular(name: str | Path, flags: int, *, dir_fd: int | None = None, mode: int = PRIVATE_MODE) -> int:
    """Open a regular file and nothing else.

    :param flags: access mode and O_CREAT, O_APPEND and the like; the safe flags are added.
    :raises NotRegularError: for anything but a regular file (a link to one is ELOOP, a plain OSError).
    :raises OSError: whatever open(2) says.
    """
    fd = os.open(name, flags | SAFE_FLAGS, mode, dir_fd=dir_fd)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise NotRegularError(str(name))


def read_regular(
    name: str | Path, limit: int, *, dir_fd: int | None = None, owners: Container[int] | None = None
) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    :param owners: whose file it has to be, and nobody else's to write; by default that is not looked at.
    :raises NotRegularError: for anything but a regular file.
    :raises ForeignFileError: where others could have written it.
    :raises TooLargeError: when there is more than ``limit`` bytes to read, whatever stat(2) claims.
    :raises OSError: whatever open(2) or read(2) says.
    """
    fd = open_regular(name, os.O_RDONLY, dir_fd=dir_fd)
    with open(fd, "rb", buffering=0) as file:  # noqa: PTH123 (a descriptor, not a path)
        if owners is not None and not is_trusted(os.fstat(fd), owners):
            raise ForeignFileError(str(name))
        chunks: list[bytes] = []
        left = limit + 1
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            chunks.append(chunk)
            left -= len(chunk)
    if left <= 0:
        raise TooLargeError(str(name), limit)
    return b"".join(chunks)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte of ``data``.

    :raises OSError: whatever write(2) says, ENOSPC above all; part of the data may have been written.
    """
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def replace(name: str, data: bytes, *, dir_fd: int | None = None, durable: bool = False) -> None:
    """Put a file with this content in the place of ``name``, atomically: readers see the old or the new one.

    The temporary file is ``name`` + ".tmp" beside it; what an earlier crash left under that name is removed.

    :param durable: return only once it is on the disk, name and all; needs `dir_fd`.
    :raises OSError: whatever the system says; the old file is then untouched and no temporary file remains.
        Only where the disk fails in the last step of a durable one, the new file may be there all the same.
    """
    temporary = name + ".tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS
    try:
        fd = os.open(temporary, flags, PRIVATE_MODE, dir_fd=dir_fd)
    except FileExistsError:
        os.unlink(temporary, dir_fd=dir_fd)
        fd = os.open(temporary, flags, PRIVATE_MODE, dir_fd=dir_fd)
    try:
        try:
            write_all(fd, data)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise
    if durable and dir_fd is not None:
        os.fsync(dir_fd)


def set_aside(name: str, *, dir_fd: int | None = None) -> str:
    """Rename ``name`` to ``name`` + ".invalid" (replacing an earlier one) and return the new name.

    :raises OSError: whatever rename(2) says.
    """
    aside = name + ".invalid"
    os.rename(name, aside, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    return aside


def keep_copy(name: str | Path) -> Path:
    """Link ``name`` as ``name`` + ".invalid", in place of an earlier one, and return the new path.

    What later replaces ``name`` leaves the copy alone.

    :raises OSError: whatever link(2) says.
    """
    aside = Path(f"{name}.invalid")
    aside.unlink(missing_ok=True)
    os.link(name, aside, follow_symlinks=False)
    return aside
