# SPDX-License-Identifier: Apache-2.0
"""What proc(5) says about one process, read through one directory fd so that all of it is of that process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_GONE = (errno.ENOENT, errno.ESRCH)
_START_TIME = 22 - 3  # proc(5) counts from 1, and what follows the name begins with field 3


class ProcDirectory:
    """/proc/PID, opened; a context manager.

    Every method raises ProcessLookupError once the process is gone, and OSError where this process may
    not read, or has too many files open.
    """

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self.pid = pid
        try:
            self._fd = os.open(proc / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._translated(error) from None

    def __enter__(self) -> ProcDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, name: str, most: int = 65536) -> bytes:
        """Content of a file, at most so many bytes."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                content = b""
                while len(content) < most and (more := os.read(fd, most - len(content))):
                    content += more
                return content
            finally:
                os.close(fd)
        except OSError as error:
            raise self._translated(error) from None

    def write(self, name: str, data: bytes) -> None:
        """Write to a file, in one go."""
        try:
            fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._translated(error) from None

    def start_ticks(self) -> int:
        """Start time in clock ticks since boot (`stat`, field 22)."""
        return parse_start_ticks(self.read("stat"))

    def uid(self) -> int:
        """Real uid."""
        return parse_real_uid(self.read("status"))

    def name(self) -> bytes:
        """Return the name of the main thread, at most 15 bytes; whatever the process chose."""
        return self.read("comm").removesuffix(b"\n")

    def executable(self) -> bytes:
        """Full path of the executable; without privilege PermissionError for another user's process."""
        try:
            return os.readlink(b"exe", dir_fd=self._fd)
        except OSError as error:
            raise self._translated(error) from None

    def _translated(self, error: OSError) -> OSError:
        if error.errno in _GONE:
            return ProcessLookupError(errno.ESRCH, f"no process {self.pid}")
        return error


def parse_start_ticks(stat: bytes) -> int:
    """Field 22 of /proc/PID/stat; the name before it may hold anything, even ")". Raises ValueError."""
    fields = stat.rpartition(b")")[2].split()
    if len(fields) <= _START_TIME:
        raise ValueError("no start time in /proc/PID/stat")
    return int(fields[_START_TIME])


def parse_real_uid(status: bytes) -> int:
    """First number of the line "Uid:" of /proc/PID/status. Raises ValueError."""
    for line in status.split(b"\n"):
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    raise ValueError("no uid in /proc/PID/status")
