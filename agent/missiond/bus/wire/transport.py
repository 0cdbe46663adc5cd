# SPDX-License-Identifier: Apache-2.0
"""Messages over one authenticated socket: writing survives EAGAIN, reading bounds memory.

Writing is tried at once and queued only when the kernel's buffer is full.
While a lot is queued nothing more is read, so clients that ask faster than
the bus takes our answers wait instead of filling our memory.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from missiond.bus.wire import message as wire
from missiond.common import blocking_io

MAX_QUEUED = 64 * 1024 * 1024
"""Most bytes queued before the connection is given up."""
PAUSE_ABOVE, RESUME_BELOW = 8 * 1024 * 1024, 4 * 1024 * 1024
MAX_BODY = 1024 * 1024
"""Bytes of the longest call or signal kept whole; of a longer one the header is kept."""
MAX_HEADER = 256 * 1024
"""Bytes of the longest header; a message with a longer one is dropped."""

SEND_BUFFER = 24 * 1024
"""Half of the bytes with the kernel, by the kernel's count (socket(7), SO_SNDBUF). dbus-daemon takes 2 KiB
of each connection in turn: where many call without end, more would keep an answer waiting for seconds."""

_CHUNK = 64 * 1024
_MAX_FDS = 253
_BUFFERS = 64
_FD_SPACE = socket.CMSG_SPACE(_MAX_FDS * 4)


class QueueFull(ConnectionError):
    """Too many bytes queued: the bus does not read."""


class Transport:
    """Owns the socket.

    `fds` is whether descriptors are taken, or says so each time: those that are not taken are dropped by the
    kernel (unix(7)), which costs nothing. `on_message` gets each message and, with it, its descriptors; it
    must not raise. `on_lost` gets the reason, once, when the connection ends.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        fds: bool | Callable[[], bool],
        on_message: Callable[[wire.Incoming], None],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._fds = fds
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_room: Callable[[], None] | None = None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._queue: deque[tuple[memoryview, list[int]]] = deque()
        self.queued = 0
        self._writing = False
        self._paused = False
        self._flushed: list[asyncio.Future[None]] = []
        self._received = bytearray()
        self._received_fds: list[int] = []
        self._bare = False
        """Whether the first message received was begun while no descriptors were taken: it has none."""
        self._need = wire.FIXED
        self._skip = 0
        self.closed = False
        self._loop.add_reader(self._fd, self._on_readable)

    # --- writing

    def on_room(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called each time the queue of outgoing messages gets empty."""
        self._on_room = callback

    def write(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send `data`, one whole message, after everything sent before; `fds` stay the caller's."""
        if self.closed:
            return
        view = memoryview(data)
        if not self._queue and not fds:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._end_soon(error)
                return
            if sent == len(data):
                return
            view = view[sent:]
        if self.queued + len(view) > MAX_QUEUED:
            self._end_soon(QueueFull(f"{self.queued} bytes wait to be sent"))
            return
        self._queue.append((view, [os.dup(fd) for fd in fds]))
        self.queued += len(view)
        if fds and len(self._queue) == 1:
            self._write_queue()
        self._watch_writing()

    def _watch_writing(self) -> None:
        if self._queue and not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)
        if self.queued > PAUSE_ABOVE and not self._paused and not self.closed:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def _on_writable(self) -> None:
        self._write_queue()
        if self._paused and self.queued < RESUME_BELOW and not self.closed:
            self._paused = False
            self._loop.add_reader(self._fd, self._on_readable)
        if self._queue or self.closed:
            return
        self._writing = False
        self._loop.remove_writer(self._fd)
        self._wake_flushers()
        if self._on_room is not None:
            self._on_room()

    def _write_queue(self) -> None:
        try:
            while self._queue:
                self._sent(self._write_some())
        except BlockingIOError:
            return
        except OSError as error:
            self._end_soon(error)

    def _write_some(self) -> int:
        view, fds = self._queue[0]
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self._sock.sendmsg([view], rights)
            _close_all(fds)
            return sent
        views: list[memoryview] = []
        for view, fds in self._queue:
            if fds or len(views) == _BUFFERS:
                break
            views.append(view)
        return self._sock.sendmsg(views)

    def _sent(self, count: int) -> None:
        self.queued -= count
        while count:
            view, fds = self._queue[0]
            if count < len(view):
                self._queue[0] = (view[count:], fds)
                return
            count -= len(view)
            self._queue.popleft()

    async def flush(self) -> None:
        """Wait until everything is with the kernel, or the connection has ended."""
        if self._queue and not self.closed:
            future = self._loop.create_future()
            self._flushed.append(future)
            await future

    def _wake_flushers(self) -> None:
        for future in self._flushed:
            if not future.done():
                future.set_result(None)
        self._flushed.clear()

    # --- reading

    def _on_readable(self) -> None:
        """Read once and no more, so that timers and other descriptors get their turn."""
        taken = self._fds() if callable(self._fds) else self._fds
        try:
            data = self._receive(max(_CHUNK, min(self._need - len(self._received), MAX_BODY)), fds=taken)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(error)
            return
        if not data:
            self.end(ConnectionResetError("the bus closed the connection"))
            return
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        before = len(self._received)
        self._received += data
        if len(self._received) >= self._need:
            self._split()
        if not before or len(self._received) < before + len(data):
            # what is first now began with this read
            self._bare = not taken and bool(self._received)

    def _receive(self, size: int, *, fds: bool) -> bytes:
        if not fds:
            return self._sock.recv(size)
        data, ancillary, _, _ = self._sock.recvmsg(size, _FD_SPACE, socket.MSG_CMSG_CLOEXEC)
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._received_fds.extend(array.array("i", raw[: len(raw) & ~3]))
        return data

    def _split(self) -> None:
        """Hand on every whole message; remember how many bytes the next one needs."""
        buffer = bytes(self._received)
        position, end = 0, len(buffer)
        try:
            while end - position >= wire.FIXED:
                header, body = wire.lengths(buffer, position)
                if (
                    body > MAX_BODY and buffer[position + 1] in (wire.CALL, wire.SIGNAL)
                ) or header > MAX_HEADER:
                    taken = self._too_large(buffer[position:], header, body)
                else:
                    taken = header + body if header + body <= end - position else 0
                    self._need = header + body
                    if taken:
                        self._deliver(buffer[position : position + taken], header, body)
                if not taken or self.closed:
                    break
                position += taken
                self._need = wire.FIXED
        except wire.WireError as error:
            self.end(ConnectionAbortedError(str(error)))
            return
        del self._received[:position]

    def _too_large(self, rest: bytes, header: int, body: int) -> int:
        """Keep the header and throw the body away as it comes; returns how much of `rest` is done with."""
        if len(rest) < header <= MAX_HEADER:
            self._need = header
            return 0
        taken = min(len(rest), header + body)
        self._skip = header + body - taken
        if header <= MAX_HEADER:
            self._deliver(rest[:header], header, body)
        else:
            # descriptors come with a message's first bytes, and reading stops there: they are its own
            blocking_io.close_all(self._received_fds)
            self._received_fds.clear()
            self._bare = False
        return taken

    def _deliver(self, frame: bytes, header: int, body: int) -> None:
        message = wire.Incoming(frame, header, body)
        bare, self._bare = self._bare, False
        if message.fd_count and not bare:
            message.fds = self._received_fds[: message.fd_count]
            del self._received_fds[: message.fd_count]
        self._on_message(message)

    # --- the end

    def _end_soon(self, error: Exception) -> None:
        """End from a later loop turn: the caller is in the middle of something."""
        self._loop.call_soon(self.end, error)
        self._stop()

    def _stop(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        for _, fds in self._queue:
            _close_all(fds)
        self._queue.clear()
        self.queued = 0
        _close_all(self._received_fds)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def end(self, error: Exception | None = None) -> None:
        """Close the socket and report `error`, or None for a wanted end; further calls do nothing."""
        self._stop()
        self._wake_flushers()
        on_lost, self._on_lost = self._on_lost, _ignore
        on_lost(error)


def _ignore(_error: Exception | None) -> None:
    """Take the place of `on_lost` once it has been called."""


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
