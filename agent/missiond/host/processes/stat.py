# SPDX-License-Identifier: Apache-2.0
"""/proc/PID/stat, proc(5): all fields of one process in one read."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass, replace

from missiond.host.clocks import boottime

TICKS = os.sysconf("SC_CLK_TCK")
_MOST = 4096
_THREADS = 64
_FORK_NO_EXEC = 0x40
"""Of linux/sched.h."""
_LIVELIEST = "RDSITt"


@dataclass(frozen=True, slots=True)
class Stat:
    """One process at one moment. `name` is chosen freely by the process, at most 15 bytes."""

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
    arguments_at: int = 0
    """Address of the arguments, the same in a fork until an execve(2); 0 where hidden."""
    flags: int = 0
    """The kernel's flags, PF_FORKNOEXEC among these."""

    @property
    def is_fork(self) -> bool:
        """Whether the process runs the parent's program: forked, and nothing executed since."""
        return bool(self.flags & _FORK_NO_EXEC)

    @property
    def is_alive(self) -> bool:
        """Whether the process can still act: a zombie cannot, unless other threads live (`read`)."""
        return self.state not in ("Z", "X", "x")

    @property
    def age(self) -> float:
        """Seconds since the start."""
        return (ticks_now() - self.start_ticks) / TICKS


def ticks_now() -> float:
    """Return the time since boot in clock ticks, comparable with `Stat.start_ticks`."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * TICKS


def read(pid: int) -> Stat:
    """Read the stat of a process; raises ProcessLookupError where there is none, or a hidden one.

    Where the first thread has ended and others go on, the state is that of the liveliest of these: main() may
    leave by pthread_exit(3), and the process lives.
    """
    stat = parse(_content(pid, f"/proc/{pid}/stat"))
    return replace(stat, state=_state_of_others(pid)) if stat.state == "Z" and stat.threads > 1 else stat


def _content(pid: int, path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, _MOST)
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        raise ProcessLookupError(errno.ESRCH, f"no process {pid}") from None


def _state_of_others(pid: int) -> str:
    states = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task")[:_THREADS]:  # noqa: PTH208 (names are enough)
            with contextlib.suppress(OSError, ValueError):
                states.add(parse(_content(pid, f"/proc/{pid}/task/{thread}/stat")).state)
    return next((state for state in _LIVELIEST if state in states), "Z")


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
        arguments_at=int(fields[45]) if len(fields) > 45 else 0,
        flags=int(fields[6]),
    )


def started(start_ticks: int) -> int:
    """Return the start time in µs since the epoch, by today's clock."""
    return max(0, boottime.boot.at() // 1000 + start_ticks * 1_000_000 // TICKS)
