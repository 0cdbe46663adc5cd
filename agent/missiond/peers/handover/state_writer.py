# SPDX-License-Identifier: Apache-2.0
"""A state that is taken in: written to a file, in a thread, whatever becomes of the link."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from missiond.core.link.inbound_state import InboundState
from missiond.errors import AgentError, DistributedServiceFailed, SystemServiceFailed

_ANEW = "the state is sent anew"


class StateWriter:
    """A Sink. Owns `fd`; `told` is called with what is kept, or with what has gone wrong."""

    def __init__(self, fd: int, offset: int, size: int, told: Callable[[int | AgentError], None]) -> None:
        self._fd = fd
        self.offset = offset
        """All before it is with the kernel."""
        self.size = size
        self._told = told
        self._inbound: InboundState | None = None
        self._queue: list[bytes | memoryview] = []
        self._writing: asyncio.Future[int] | None = None
        self._fresh = False
        """Whether the inbound has not been told yet from where it is to begin."""
        self._closed = False

    def begin(self, inbound: InboundState) -> None:
        """Take it in from where an earlier inbound ended, once all of that is written."""
        if self._closed:
            inbound.failed(DistributedServiceFailed("nobody waits for this state any more"))
            return
        before, self._inbound, self._fresh = self._inbound, inbound, True
        if before is not None:
            before.failed(DistributedServiceFailed(_ANEW))
        if self._writing is None:
            self._tell()

    def write(self, data: bytes | memoryview) -> None:
        """Keep what follows."""
        self._queue.append(data)
        if self._writing is None:
            self._write()

    def end(self, inbound: InboundState) -> None:
        """Nothing more comes from there."""
        if inbound is self._inbound:
            self._inbound = None

    def close(self, error: AgentError | None = None) -> None:
        """Keep nothing more; the file is closed as soon as nobody writes to it."""
        self._closed = True
        self._queue.clear()
        inbound, self._inbound = self._inbound, None
        if inbound is not None:
            inbound.failed(error or DistributedServiceFailed("nobody waits for this state any more"))
        if self._writing is None:
            self._close_fd()

    async def closed(self) -> None:
        """Close it, and return when nothing is written any more."""
        writing = self._writing
        self.close()
        if writing is not None:
            await asyncio.wait([writing])

    def _write(self) -> None:
        pieces, self._queue = self._queue, []
        writing = asyncio.get_running_loop().run_in_executor(None, _write_all, self._fd, pieces, self.offset)
        self._writing = writing
        writing.add_done_callback(self._written)

    def _written(self, writing: asyncio.Future[int]) -> None:
        self._writing = None
        error = None if writing.cancelled() else writing.exception()
        if error is None and not writing.cancelled():
            self.offset = writing.result()
        if self._closed:
            self._close_fd()
            return
        if error is not None:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            self._fail(SystemServiceFailed(f"the state can't be kept: {reason}"))
            return
        if self._queue:
            self._write()
        self._told(self.offset)
        if self._writing is None or not self._fresh:
            self._tell()

    def _fail(self, error: AgentError) -> None:
        """What is in the file counts up to `offset`; more can be sent once there is room."""
        self._queue.clear()
        inbound, self._inbound = self._inbound, None
        if inbound is not None:
            inbound.failed(error)
        self._told(error)

    def _tell(self) -> None:
        self._fresh = False
        if self._inbound is not None:
            self._inbound.written(self.offset)

    def _close_fd(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, pieces: list[bytes | memoryview], offset: int) -> int:
    """Return where the next piece goes; raises OSError, and leaves nothing of these pieces then."""
    views = [memoryview(piece) for piece in pieces]
    at = offset
    while views:
        try:
            count = os.pwritev(fd, views, at)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(fd, offset)
            raise
        at += count
        while views and count >= len(views[0]):
            count -= len(views.pop(0))
        if count:
            views[0] = views[0][count:]
    return at
