# SPDX-License-Identifier: Apache-2.0
"""States of handed-over missions: files beside the records, written in parts, then sealed.

All of this blocks for the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os

from missiond.store import checksum as digests
from missiond.store import safe_files

_BLOCK = 1 << 20


class WrongState(ValueError):
    """A state of another size or checksum than announced; `str()` gives the difference."""


class StateFileWriter:
    """A writer of one state from the first byte to the last, renamed into place when whole."""

    def __init__(self, dir_fd: int, transfer: str, size: int | None = None, sha256: str = "") -> None:
        """Begin an empty state, in place of any earlier part.

        :param dir_fd: of `HandoverFiles.open`.
        :param size: bytes, for which room is made at once; None where it is not known.
        :param sha256: in lower-case hexadecimal; empty where it is not known.
        :raises OSError: ENOSPC above all; nothing is left then.
        """
        self.have = 0
        """Bytes without a gap."""
        self._dir_fd = os.dup(dir_fd)
        self._name = f"{transfer}.state"
        self._size, self._sha256 = size, sha256
        self._hash = digests.sha256()
        self._fd = -1
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            self._fd = safe_files.open_regular(self._part, flags, dir_fd=self._dir_fd)
            if size:
                os.posix_fallocate(self._fd, 0, size)
        except OSError:
            self.abandon()
            raise

    @property
    def _part(self) -> str:
        return self._name + ".part"

    def write(self, offset: int, data: bytes) -> bool:
        """Append data and skip bytes already there; False for a gap: go back to `have`.

        :raises WrongState: more than was said to come.
        :raises OSError: ENOSPC above all; abandon it then.
        """
        if offset > self.have:
            return False
        data = data[self.have - offset :]
        if self._size is not None and self.have + len(data) > self._size:
            raise WrongState(f"more than the {self._size} bytes that were to come")
        safe_files.write_all(self._fd, data)
        self._hash.update(data)
        self.have += len(data)
        return True

    def seal(self) -> tuple[int, str]:
        """Rename the state into place durably, and return size and checksum; ends the writer.

        :raises WrongState: something is missing, or the checksum is wrong; nothing is left then.
        :raises OSError: it is not on the disk; nothing is left then.
        """
        digest = self._hash.hexdigest()
        try:
            self._compare(digest)
            os.ftruncate(self._fd, self.have)
            os.fsync(self._fd)
            os.rename(self._part, self._name, src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)
            os.fsync(self._dir_fd)
        except (OSError, WrongState):
            self.abandon()
            raise
        self._close()
        return self.have, digest

    def _compare(self, digest: str) -> None:
        if self._size is not None and self.have != self._size:
            raise WrongState(f"{self.have} bytes came of {self._size}")
        if self._sha256 and digest != self._sha256:
            raise WrongState("the checksum is wrong")

    def abandon(self) -> None:
        """Delete the part; does nothing a second time."""
        if self._dir_fd >= 0:
            try:
                os.unlink(self._part, dir_fd=self._dir_fd)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EROFS, errno.EIO}:
                    raise
        self._close()

    def _close(self) -> None:
        for fd in (self._fd, self._dir_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._dir_fd = -1


def keep(dir_fd: int, transfer: str, state: bytes) -> tuple[int, str]:
    """Write a state given inline; returns size and checksum.

    :raises OSError: ENOSPC above all; nothing is left then.
    """
    writer = StateFileWriter(dir_fd, transfer, len(state))
    try:
        writer.write(0, state)
    except OSError:
        writer.abandon()
        raise
    return writer.seal()


def keep_file(dir_fd: int, transfer: str, fd: int, most: int) -> tuple[int, str]:
    """Write a state from the beginning of a regular file; see `keep`.

    :param most: bytes that are accepted.
    :raises OSError: EFBIG where there is more; whatever read(2) and write(2) say.
    """
    writer = StateFileWriter(dir_fd, transfer)
    try:
        while data := os.pread(fd, _BLOCK, writer.have):
            if writer.have + len(data) > most:
                raise safe_files.TooLargeError("the state", most)
            writer.write(writer.have, data)
    except OSError:
        writer.abandon()
        raise
    return writer.seal()


def adopt_file(dir_fd: int, transfer: str, fd: int) -> bool:
    """Link a file without a name into the place of a state; `settle` makes the state durable.

    False where it can't have a name here (linkat(2)): it is on another file system, or has had one.

    :param fd: of a file that was opened with O_TMPFILE.
    """
    part = f"{transfer}.state.part"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=dir_fd)
    try:
        os.link(f"/proc/self/fd/{fd}", part, dst_dir_fd=dir_fd, follow_symlinks=True)
    except OSError:
        return False
    os.rename(part, f"{transfer}.state", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    return True


def settle(dir_fd: int, fd: int) -> None:
    """Flush an adopted state to the disk; raises OSError."""
    os.fsync(fd)
    os.fsync(dir_fd)


def open_state(dir_fd: int, transfer: str) -> int:
    """Return a descriptor for reading a sealed state.

    :raises OSError: there is none.
    """
    return safe_files.open_regular(f"{transfer}.state", os.O_RDONLY, dir_fd=dir_fd)
