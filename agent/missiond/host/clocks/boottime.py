# SPDX-License-Identifier: Apache-2.0
"""Time with the host's sleep included.

asyncio's own timers use CLOCK_MONOTONIC, which stands still in suspend: a request of 3 min would end late
by as long as the host slept. CLOCK_BOOTTIME counts that time (clock_gettime(2)), and a timer on it that
ran out in suspend fires on resume (timerfd_create(2)).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from missiond.host.clocks import timerfd
from missiond.host.loop_file import LoopFile

_NS_PER_MS = 1_000_000
_CLOCK_WAS_SET = 1_000_000_000
"""ns; less is the time between two readings."""


class BootClock:
    """Milliseconds on CLOCK_BOOTTIME, and the id of the boot."""

    def __init__(self, boot_id_file: Path = Path("/proc/sys/kernel/random/boot_id")) -> None:
        self._boot_id_file = boot_id_file

    def now(self) -> int:
        """Milliseconds since boot, suspend included; never goes back."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _NS_PER_MS

    def slept(self) -> int:
        """Return the milliseconds of suspend since boot (CLOCK_MONOTONIC stands still then)."""
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()) // _NS_PER_MS

    def wall(self) -> int:
        """Milliseconds since the epoch; goes wherever somebody sets the clock."""
        return time.time_ns() // _NS_PER_MS

    @cached_property
    def boot_id(self) -> str:
        """Id of this boot (random(4)); where the kernel does not tell, an id of this run alone.

        sd_id128_get_boot(3) reads the same file, and would leave nothing where systemd-python is missing.
        """
        try:
            boot_id = self._boot_id_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            boot_id = ""
        return boot_id or f"unknown-{os.urandom(16).hex()}"


class Alarm:
    """A callback at one moment of CLOCK_BOOTTIME; setting again moves the moment.

    One timerfd in the running loop. Raises OSError where no more files can be opened.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._when: int | None = None
        self._file = LoopFile(timerfd.create(), self._fired)

    @property
    def when(self) -> int | None:
        """Moment of the next callback, in ms since boot; None where not set."""
        return self._when

    def set(self, when_ms: int | None) -> None:
        """Call back at `when_ms` milliseconds since boot: on the next turn of the loop for a past moment.

        None sets it to never. Costs one system call, none where nothing changes.
        """
        if self._file.fd < 0 or when_ms == self._when:
            return
        self._when = when_ms
        # 0 would mean never.
        timerfd.set_absolute(self._file.fd, 0 if when_ms is None else max(when_ms * _NS_PER_MS, 1))

    def close(self) -> None:
        """Never fire again; more than once does no harm."""
        self._file.close()
        self._when = None

    def _fired(self) -> None:
        if self._file.read(8) is None:
            return  # set again between running out and this turn of the loop
        self._when = None
        self._callback()


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

    def remember(self, at: object) -> None:
        """Go on with what an earlier run returned, unless the clock was set since; rubbish is ignored."""
        if type(at) is int and abs(self.at() - at) < _CLOCK_WAS_SET:
            self._at = at


boot = _Boot()


def since_epoch(milliseconds: int) -> int:
    """Return a moment in ms since boot as µs since the epoch, by the wall clock as set now."""
    return max(0, boot.at() // 1000 + milliseconds * 1000)
