# SPDX-License-Identifier: Apache-2.0
"""Hears when somebody sets the wall clock (TFD_TIMER_CANCEL_ON_SET in timerfd_create(2))."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from missiond.host.clocks import timerfd
from missiond.host.loop_file import LoopFile


class ClockSetting:
    """Calls back after each jump of CLOCK_REALTIME, whoever made it; slewing (adjtimex(2)) is none.

    Raises OSError where no more files can be opened. The kernel also counts the end of a suspend.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        fd = timerfd.create_through_libc(time.CLOCK_REALTIME)
        timerfd.await_setting(fd)
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
        timerfd.await_setting(self._file.fd)
        self._callback()
