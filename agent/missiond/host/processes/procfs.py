# SPDX-License-Identifier: Apache-2.0
"""The words of proc(5) on one process, read through one directory fd: all of one process."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

_GONE = (errno.ENOENT, errno.ESRCH)
_THREADS = 64
"""How many are looked at for one that has not ended."""
_NICE, _START_TIME = 19 - 3, 22 - 3  # proc(5) counts from 1, and what follows the name begins with field 3


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

    def umask(self) -> int:
        """Return the permissions withheld from new files (umask(2))."""
        return parse_umask(self.read("status"))

    def nice(self) -> int:
        """From -20 to 19 (`stat`, field 19)."""
        return parse_nice(self.read("stat"))

    def oom_score_adj(self) -> int:
        """Return the adjustment for the choice when memory runs out, from -1000 to 1000."""
        # Where it changes between two reads, the second one finds the rest of a longer number.
        return int(self.read("oom_score_adj").split()[0])

    def name(self) -> bytes:
        """Return the name of the main thread, at most 15 bytes, chosen freely by the process."""
        return self.read("comm").removesuffix(b"\n")

    def executable(self) -> bytes:
        """Full path of the executable; without privilege PermissionError for another user's process."""
        try:
            return self._link("exe")
        except ProcessLookupError:
            for thread in self._other_threads():
                with contextlib.suppress(ProcessLookupError):
                    return self._link(f"{thread}/exe")
            raise

    def of_program(self, name: str, most: int = 65536) -> bytes:
        """Read a file about the program of the process (cmdline, statm).

        The first thread has none once it has ended; the others may go on, and then it is theirs.
        """
        content = self.read(name, most)
        if _is_blank(content):
            for thread in self._other_threads():
                with contextlib.suppress(ProcessLookupError):
                    of_other = self.read(f"{thread}/{name}", most)
                    if not _is_blank(of_other):
                        return of_other
        return content

    def _other_threads(self) -> list[str]:
        """Directories of further threads, where the first has ended; none where it has not."""
        if self.read("stat").rpartition(b") ")[2][:1] != b"Z":
            return []
        fd = os.open("task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            names = os.listdir(fd)  # noqa: PTH208 (pathlib takes no descriptors)
        finally:
            os.close(fd)
        return [f"task/{name}" for name in names if name != str(self.pid)][:_THREADS]

    def _link(self, name: str) -> bytes:
        try:
            return os.fsencode(os.readlink(name, dir_fd=self._fd))
        except OSError as error:
            raise self._translated(error) from None

    def _translated(self, error: OSError) -> OSError:
        if error.errno in _GONE:
            return ProcessLookupError(errno.ESRCH, f"no process {self.pid}")
        return error


def _is_blank(content: bytes) -> bool:
    """Whether it says nothing: no arguments, or no page of memory."""
    return not content.strip(b" 0\n\0")


def parse_start_ticks(stat: bytes) -> int:
    """Parse field 22 of /proc/PID/stat; any character may be in the name before. Raises ValueError."""
    fields = stat.rpartition(b")")[2].split()
    if len(fields) <= _START_TIME:
        raise ValueError("no start time in /proc/PID/stat")
    return int(fields[_START_TIME])


def parse_nice(stat: bytes) -> int:
    """Field 19 of /proc/PID/stat. Raises ValueError."""
    fields = stat.rpartition(b")")[2].split()
    if len(fields) <= _NICE:
        raise ValueError("no nice value in /proc/PID/stat")
    return int(fields[_NICE])


def parse_umask(status: bytes) -> int:
    """Octal number of the line "Umask:" of /proc/PID/status. Raises ValueError."""
    for line in status.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"Umask":
            return int(value, 8)
    raise ValueError("no umask in /proc/PID/status")


def parse_real_uid(status: bytes) -> int:
    """First number of the line "Uid:" of /proc/PID/status. Raises ValueError."""
    for line in status.split(b"\n"):
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    raise ValueError("no uid in /proc/PID/status")
