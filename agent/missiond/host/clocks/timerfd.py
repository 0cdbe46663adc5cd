# SPDX-License-Identifier: Apache-2.0
"""timerfd_create(2): from the standard library since Python 3.13, from libc before."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import time
from collections.abc import Callable
from functools import lru_cache

from missiond.host.loop_file import LoopFile

_NANOSECONDS = 1_000_000_000


class _Timespec(ctypes.Structure):
    # libc keeps the symbol without "64" for the historic time_t, which is a long everywhere.
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2
_FAR = 2**33
"""Seconds since the epoch, some centuries from now."""


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.timerfd_create.argtypes = (ctypes.c_int, ctypes.c_int)
    libc.timerfd_create.restype = ctypes.c_int
    libc.timerfd_settime.argtypes = (
        ctypes.c_int,
        ctypes.c_int,
        ctypes.POINTER(_Itimerspec),
        ctypes.POINTER(_Itimerspec),
    )
    libc.timerfd_settime.restype = ctypes.c_int
    return libc


def _checked(result: int) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def create_through_libc(clock: int = time.CLOCK_BOOTTIME) -> int:
    """Make a timer as `create` does, through ctypes."""
    # TFD_NONBLOCK and TFD_CLOEXEC are defined as the O_ flags.
    return _checked(_libc().timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC))


def await_setting(fd: int) -> None:
    """Let read(2) of a timer on CLOCK_REALTIME fail with ECANCELED at the next setting of the clock.

    The standard library has no name for this flag in 3.11.
    """
    value = _Itimerspec(_Timespec(0, 0), _Timespec(_FAR, 0))
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    _checked(_libc().timerfd_settime(fd, flags, ctypes.byref(value), None))


def set_through_libc(fd: int, when_ns: int) -> None:
    """Set a timer as `set_absolute` does, through ctypes."""
    seconds, nanoseconds = divmod(when_ns, _NANOSECONDS)
    value = _Itimerspec(_Timespec(0, 0), _Timespec(seconds, nanoseconds))
    _checked(_libc().timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(value), None))


if sys.version_info >= (3, 13):

    def create() -> int:
        """Make a disarmed timer on CLOCK_BOOTTIME: its fd, non-blocking and not inherited. Raises OSError."""
        return os.timerfd_create(time.CLOCK_BOOTTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def set_absolute(fd: int, when_ns: int) -> None:
        """Fire once at `when_ns` nanoseconds on CLOCK_BOOTTIME, at once if that has passed; 0 disarms."""
        os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=when_ns)

else:
    create = create_through_libc
    set_absolute = set_through_libc


class ClockSetting:
    """Notices when somebody sets the wall clock (TFD_TIMER_CANCEL_ON_SET in timerfd_create(2)).

    Calls back after each jump of CLOCK_REALTIME, whoever made it; slewing (adjtimex(2)) is none.

    Raises OSError where no more files can be opened. The kernel also counts the end of a suspend.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        fd = create_through_libc(time.CLOCK_REALTIME)
        await_setting(fd)
        self._file = LoopFile(fd, self._readable)

    def close(self) -> None:
        """Hear nothing any more; more than once does no harm."""
        self._file.close()

    def _readable(self) -> None:
        try:
            if self._file.read(8) is None:
                return
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
        await_setting(self._file.fd)
        self._callback()
