# SPDX-License-Identifier: Apache-2.0
"""/proc/PID/stat, proc(5): one read, so that all of it is of one process."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
_MOST = 4096
_CLOCK_WAS_SET = 1_000_000_000
"""ns; less is the time between two readings."""


@dataclass(frozen=True, slots=True)
class Stat:
    """One process at one moment. `name` is whatever it chose, at most 15 bytes."""

    pid: int
    name: bytes
    state: str
    parent: int
    group: int
    session: int
    terminal: int
    """Device number of the controlling terminal; 0 without one."""
    cpu_ticks: int
    threads: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether it can still do anything: a zombie cannot."""
        return self.state not in ("Z", "X", "x")

    @property
    def age(self) -> float:
        """Seconds since it started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / TICKS


def read(pid: int) -> Stat:
    """Read it; raises ProcessLookupError where there is no such process, or it is hidden."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(fd, _MOST)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None
    return parse(text)


def parse(text: bytes) -> Stat:
    """Parse the content; the name may hold anything, even ")" and newlines. Raises ValueError."""
    pid, _, rest = text.partition(b" (")
    name, _, rest = rest.rpartition(b") ")
    fields = rest.split()
    if len(fields) < 22:
        raise ValueError("not the content of /proc/PID/stat")
    return Stat(
        pid=int(pid),
        name=name,
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        terminal=int(fields[4]),
        cpu_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


class _Boot:
    """When the host was booted, by today's clock."""

    def __init__(self) -> None:
        self._at = 0

    def at(self) -> int:
        """Return ns since the epoch: the same each time, though two clocks can't be read at once."""
        at = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if abs(at - self._at) >= _CLOCK_WAS_SET:
            self._at = at
        return self._at


_boot = _Boot()


def started(start_ticks: int) -> int:
    """Return the start time in µs since the epoch, by today's clock."""
    return _boot.at() // 1000 + start_ticks * 1_000_000 // TICKS
