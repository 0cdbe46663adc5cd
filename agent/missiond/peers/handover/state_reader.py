# SPDX-License-Identifier: Apache-2.0
"""A state that is sent: read ahead from a file, in a thread, so that a slow disk blocks nobody."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from missiond.errors import AgentError, InvalidParameter, SystemServiceFailed

_BLOCK = 1024 * 1024


class StateReader:
    """A Source. Owns `fd`; `stir` is called when there is more to read, `told` of what the peer keeps."""

    def __init__(self, fd: int, size: int, stir: Callable[[], None], told: Callable[[int], None]) -> None:
        self._fd = fd
        self._size = size
        self._stir = stir
        self._told = told
        self._start = 0
        self._block = memoryview(b"")
        self._ahead: tuple[int, memoryview] | None = None
        self._error: AgentError | None = None
        self._reading: asyncio.Future[bytes] | None = None
        self._closed = False

    def read(self, offset: int, most: int) -> memoryview | None:
        """Return what is there at `offset`, None until a thread has read it; raises AgentError."""
        if self._error is not None:
            raise self._error
        if not self._start <= offset < self._start + len(self._block):
            if self._ahead is None or self._ahead[0] != offset:
                self._ahead = None
                self._read(offset)
                return None
            self._start, self._block = self._ahead
            self._ahead = None
            if self._start + len(self._block) < self._size:
                self._read(self._start + len(self._block))
        begin = offset - self._start
        return self._block[begin : begin + most]

    def progress(self, offset: int) -> None:
        """The peer keeps all up to here."""
        self._told(offset)

    def close(self) -> None:
        """Read nothing more."""
        self._closed = True
        self._block, self._ahead = memoryview(b""), None
        if self._reading is None:
            self._close_fd()

    def _read(self, offset: int) -> None:
        if self._reading is not None:
            return  # it stirs, and then the right place is read
        most = min(_BLOCK, self._size - offset)
        reading = asyncio.get_running_loop().run_in_executor(None, os.pread, self._fd, most, offset)
        self._reading = reading
        reading.add_done_callback(lambda done: self._done(offset, done))

    def _done(self, offset: int, reading: asyncio.Future[bytes]) -> None:
        self._reading = None
        if self._closed or reading.cancelled():
            self._close_fd()
            return
        error = reading.exception()
        if error is not None:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            self._error = SystemServiceFailed(f"the state can't be read: {reason}")
        elif not reading.result():
            self._error = InvalidParameter("the file with the state is shorter than its size says")
        else:
            self._ahead = offset, memoryview(reading.result())
        self._stir()

    def _close_fd(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
