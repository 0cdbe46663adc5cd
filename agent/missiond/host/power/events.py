# SPDX-License-Identifier: Apache-2.0
"""Changes of the power supply, from the kernel and udev (pyudev's Monitor in the event loop).

pyudev has no asyncio support of its own, and its poll loop fails for good once the socket's buffer has
overflowed. Here such an overflow counts as a change, and the monitor is made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from missiond.common.backoff import Backoff

if TYPE_CHECKING:
    import pyudev

_LOGGER = logging.getLogger(__name__)
_SUBSYSTEM = "power_supply"
_BUFFER_BYTES = 1024 * 1024
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 300.0
UDEV_CONTROL = Path("/run/udev/control")


def event_sources(control: Path = UDEV_CONTROL) -> list[str]:
    """Return the sources of events: "kernel", and "udev", after the rules, where a udev daemon runs.

    The kernel's come also while that daemon hangs or is stopped, and what they tell of is in sysfs by then;
    udev's come also into containers.
    """
    return ["udev", "kernel"] if control.exists() else ["kernel"]


class PowerEvents:
    """Calls back from the running loop after each change of a power supply; several at once are one."""

    def __init__(self, callback: Callable[[], None], source: str) -> None:
        """`source` is "udev" or "kernel"."""
        self._callback = callback
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._monitor: pyudev.Monitor | None = None
        self._fd = -1
        self._retries = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._closed = False
        self._open()

    @property
    def active(self) -> bool:
        """Whether changes will be heard of; not so without libudev, or where the socket is refused."""
        return self._monitor is not None

    def close(self) -> None:
        """Call back no more."""
        self._closed = True
        self._retries.cancel()
        self._drop()

    def _open(self) -> None:
        try:
            self._monitor = open_monitor(self._source)
            self._fd = self._monitor.fileno()
            self._loop.add_reader(self._fd, self._readable)
        except (ImportError, OSError, ValueError) as error:
            _LOGGER.warning("no power events: %s", error)
            self._monitor = None
            # A missing library stays missing; a socket may be had later.
            if isinstance(error, OSError):
                self._retries.later(self._open_again)
        else:
            _LOGGER.debug("power events come from %s", self._source)

    def _open_again(self) -> None:
        self._open()
        if self.active:
            self._tell()

    def _drop(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
        # The monitor closes its socket with its last reference.
        self._monitor, self._fd = None, -1

    def _readable(self) -> None:
        changed = False
        assert self._monitor is not None
        try:
            while self._monitor.poll(0) is not None:
                changed = True
        except (OSError, ValueError) as error:
            _LOGGER.warning("power events were lost (%s); reading anew", error)
            self._drop()
            self._retries.later(self._open_again)
            changed = True
        else:
            self._retries.reset()
        if changed:
            self._tell()

    def _tell(self) -> None:
        if self._closed:
            return
        try:
            self._callback()
        except Exception:
            _LOGGER.exception("a change of the power supply was not dealt with")


def open_monitor(source: str) -> pyudev.Monitor:
    """Make a listening monitor. Raises ImportError (no pyudev or no libudev) and OSError."""
    import pyudev  # noqa: PLC0415

    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source=source)
    monitor.filter_by(_SUBSYSTEM)
    # More than the default takes a privilege, and is only there to make an overflow unlikely.
    with contextlib.suppress(OSError):
        monitor.set_receive_buffer_size(_BUFFER_BYTES)
    monitor.start()
    return monitor
