# SPDX-License-Identifier: Apache-2.0
"""States that are expected of other hosts, kept for when the peer unit restarts and knows nothing of them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator

Key = tuple[str, str]
"""Id of the device, id of the transfer."""


class ExpectedStates:
    """Each with a file descriptor of its own."""

    def __init__(self) -> None:
        self._states: dict[Key, tuple[int, int]] = {}

    def __iter__(self) -> Iterator[tuple[Key, int, int, int]]:
        """Device and transfer, file descriptor, length of the file now, size of the state."""
        return iter([(key, fd, os.fstat(fd).st_size, size) for key, (fd, size) in self._states.items()])

    def add(self, device_id: str, transfer: str, fd: int, size: int) -> None:
        """Expect a state, in place of an earlier one of that transfer; `fd` stays the caller's."""
        own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        before = self._states.pop((device_id, transfer), None)
        if before is not None:
            os.close(before[0])
        self._states[device_id, transfer] = own, size

    def drop(self, transfer: str) -> None:
        """Expect nothing more of a transfer."""
        for key in [key for key in self._states if key[1] == transfer]:
            os.close(self._states.pop(key)[0])

    def close(self) -> None:
        """Expect nothing."""
        for fd, _ in self._states.values():
            os.close(fd)
        self._states.clear()
