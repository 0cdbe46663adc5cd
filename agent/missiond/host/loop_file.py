# SPDX-License-Identifier: Apache-2.0
"""Descriptors in the running loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class LoopFile:
    """A non-blocking descriptor, taken over; `readable` is called while there is something to read."""

    def __init__(self, fd: int, readable: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._loop.add_reader(fd, readable)

    @property
    def fd(self) -> int:
        """The descriptor; -1 when closed."""
        return self._fd

    def read(self, size: int) -> bytes | None:
        """Read at most `size` bytes; None where nothing is there by now. Raises OSError."""
        try:
            return os.read(self._fd, size)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close the descriptor; more than once does no harm."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
