# SPDX-License-Identifier: Apache-2.0
"""A descriptor that the running loop waits for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class LoopFile:
    """Takes a descriptor over that does not block; `readable` is called while there is something to read."""

    def __init__(self, fd: int, readable: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._loop.add_reader(fd, readable)

    @property
    def fd(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._fd

    def read(self, size: int) -> bytes | None:
        """Read at most that many bytes; None where nothing is there by now. Raises OSError."""
        try:
            return os.read(self._fd, size)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Close it; more than once does no harm."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
