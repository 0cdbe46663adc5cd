# SPDX-License-Identifier: Apache-2.0
"""States in files of the agent: checked, read and written in threads, as disks may be slow."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import Callable

from missiond.core.link.inbound_state import InboundState
from missiond.core.schema import I63
from missiond.errors import (
    AgentError,
    DistributedServiceFailed,
    InvalidParameter,
    MemoryFailed,
    SystemServiceFailed,
)

_BLOCK = 1024 * 1024
_ANEW = "the state is sent anew"


class StateReader:
    """Reads a state from `fd`, owned from now on; `stir` tells of more to read, `told` of kept bytes."""

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
        """Return bytes at `offset`, None until a thread has read there; raises AgentError."""
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
        """Tell of the bytes kept by the peer."""
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


class StateWriter:
    """Writes a state to `fd`, owned from now on; `told` gets the kept bytes, or an error."""

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
        """Take a state in from the end of an earlier one, after the last write there."""
        if self._closed:
            inbound.failed(DistributedServiceFailed("nobody waits for this state any more"))
            return
        before, self._inbound, self._fresh = self._inbound, inbound, True
        if before is not None:
            before.failed(DistributedServiceFailed(_ANEW))
        if self._writing is None:
            self._tell()

    def write(self, data: bytes | memoryview) -> None:
        """Keep the next bytes."""
        self._queue.append(data)
        if self._writing is None:
            self._write()

    def end(self, inbound: InboundState) -> None:
        """Let go of an inbound state."""
        if inbound is self._inbound:
            self._inbound = None

    def close(self, error: AgentError | None = None) -> None:
        """Keep nothing more; the file is closed once nobody writes any more."""
        self._closed = True
        self._queue.clear()
        inbound, self._inbound = self._inbound, None
        if inbound is not None:
            inbound.failed(error or DistributedServiceFailed("nobody waits for this state any more"))
        if self._writing is None:
            self._close_fd()

    async def closed(self) -> None:
        """Close the file, and return once nothing is written any more."""
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
        """Tell of an error: the file counts up to `offset`, and more can be sent once there is room."""
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


def to_read(fd: int, offset: int, size: int) -> int:
    """Return a duplicate of a descriptor for reading `size` bytes of state; raises InvalidParameter."""
    _check(fd, offset, size, (os.O_RDONLY, os.O_RDWR), "reading")
    if os.fstat(fd).st_size < size:
        raise InvalidParameter("the file with the state is shorter than its size says")
    return _duplicate(fd)


def to_write(fd: int, offset: int, size: int) -> int:
    """Return a duplicate of a descriptor for writing state at the end `offset`; raises InvalidParameter."""
    _check(fd, offset, size, (os.O_WRONLY, os.O_RDWR), "writing")
    length = os.fstat(fd).st_size
    if length != offset:
        raise InvalidParameter(f"the file for the state has {length} bytes, and offset is {offset}")
    return _duplicate(fd)


def length(fd: int) -> int:
    """Return the length of the file."""
    return os.fstat(fd).st_size


def _check(fd: int, offset: int, size: int, modes: tuple[int, ...], what: str) -> None:
    """See to it that no call on it can block for long."""
    if not 0 <= offset <= size <= I63:
        raise InvalidParameter("offset must be from 0 to size")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise InvalidParameter("state goes through files or memfds only")
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE not in modes:
        raise InvalidParameter(f"the file descriptor must be open for {what}")


def _duplicate(fd: int) -> int:
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        raise MemoryFailed(f"no file descriptor is left: {error.strerror}") from None
