# SPDX-License-Identifier: Apache-2.0
"""Incoming connections: a few at a time, and without a trusted certificate not far.

Whoever has said nothing yet costs a socket and takes the place of others like it only, the oldest first: a
flood of connections keeps nobody out who begins to talk at once. Between those who talk chance decides, and
addresses at which peers have been connected are spared.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import socket
import ssl
from collections.abc import Callable, Set
from typing import NamedTuple

from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.transport.address import group
from missiond.peers.transport.channel import SHUTDOWN_SECONDS, Channel, Channels
from missiond.peers.transport.sockets import tune

MOST = 64
"""Handshakes at a time, and silent connections at a time."""
MOST_OF_ONE = 8
"""Of one address, or of one IPv6 network of 64 bits."""
_HANDSHAKE_SECONDS = 5.0
"""From the connection on."""
_LEAST_SECONDS = 0.1
_AT_ONCE = 16
_PAUSE_SECONDS = 1.0
_TOO_MANY, _SILENT = "too many at a time", "no TLS handshake in time"
_LOGGER = logging.getLogger(__name__)


class _Silent(NamedTuple):
    """Where a connection comes from that has said nothing yet, and how long it may keep silent."""

    origin: str
    deadline: float
    late: asyncio.TimerHandle


class Listener:
    """Hands clients with a trusted certificate to `paired`, and clients without one to `stranger`.

    `context` is asked for each connection, so that a trust that ended counts from the next one on. `familiar`
    gives the origins (`address.group`) at which peers have been connected.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        channels: Channels,
        complaints: PeerLogLimiter,
        paired: Callable[[Channel], None],
        stranger: Callable[[Channel], None],
        familiar: Callable[[], Set[str]] = frozenset,
    ) -> None:
        self._context = context
        self._channels = channels
        self._complaints = complaints
        self._paired = paired
        self._stranger = stranger
        self._familiar = familiar
        self._sockets: list[socket.socket] = []
        self._silent: dict[socket.socket, _Silent] = {}
        self._shaking: dict[socket.socket, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port of the first socket, 0 without one."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else 0

    def add(self, sock: socket.socket) -> None:
        """Take over a listening socket."""
        self._sockets.append(sock)
        if self._paused is None:
            self._loop.add_reader(sock, self._accept, sock)

    async def close(self) -> None:
        """Close the sockets, and end connections without a finished handshake."""
        if self._paused is not None:
            self._paused.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        for sock in list(self._silent):
            self._hang_up(sock)
        for sock in list(self._shaking):
            self._drop(sock)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _resume(self) -> None:
        self._paused = None
        for sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _pause(self) -> None:
        """Out of descriptors or memory: wait a little, for the socket stays readable."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
        self._paused = self._paused or self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):  # then it is somebody else's turn
            try:
                sock, name = listening.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._complaints.report("connections are not taken", error.strerror or str(error))
                    self._pause()
                return
            try:
                sock.setblocking(False)
                tune(sock)
            except OSError:  # gone already
                sock.close()
                continue
            self._admit(sock, group(name[0]))

    def _admit(self, sock: socket.socket, origin: str) -> None:
        """Wait for the first byte, which makes the difference between a handshake and nothing."""
        same = [each for each, one in self._silent.items() if one.origin == origin]
        if len(same) >= MOST_OF_ONE:
            self._complaints.report(f"connections from {origin}", _TOO_MANY)
            self._hang_up(same[0])
        elif len(self._silent) >= MOST:
            self._complaints.report("connections", _TOO_MANY)
            self._hang_up(next(iter(self._silent)))
        deadline = self._loop.time() + _HANDSHAKE_SECONDS
        late = self._loop.call_at(deadline, self._too_late, sock)
        self._silent[sock] = _Silent(origin, deadline, late)
        self._loop.add_reader(sock, self._speaks, sock)

    def _too_late(self, sock: socket.socket) -> None:
        self._complaints.report(f"a connection from {self._silent[sock].origin}", _SILENT)
        self._hang_up(sock)

    def _hang_up(self, sock: socket.socket) -> None:
        """End one that has said nothing."""
        self._heard(sock)
        sock.close()

    def _heard(self, sock: socket.socket) -> _Silent:
        """Take a connection out of the silent ones."""
        silent = self._silent.pop(sock)
        silent.late.cancel()
        self._loop.remove_reader(sock)
        return silent

    def _speaks(self, sock: socket.socket) -> None:
        """Begin the handshake of a connection after the first byte, or after a hang-up."""
        origin, deadline, _ = self._heard(sock)
        same = [each for each, of in self._shaking.items() if of == origin]
        if len(same) >= MOST_OF_ONE:
            self._evict(same, f"connections from {origin}")
        elif len(self._shaking) >= MOST:
            familiar = self._familiar()
            others = [each for each, of in self._shaking.items() if of not in familiar]
            self._evict(others or list(self._shaking), "connections")
        self._shaking[sock] = origin
        task = self._loop.create_task(self._shake_hands(sock, origin, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _evict(self, among: list[socket.socket], who: str) -> None:
        """At random: then a flood can't make sure that an honest one is always the next to go."""
        self._complaints.report(who, _TOO_MANY)
        self._drop(random.choice(among))  # noqa: S311

    def _drop(self, sock: socket.socket) -> None:
        """End one; not by cancelling its task, which would leave asyncio's transport behind."""
        del self._shaking[sock]
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("a connection was not taken", exc_info=error)

    async def _shake_hands(self, sock: socket.socket, origin: str, deadline: float) -> None:
        who = f"a connection from {origin}"
        left = max(deadline - self._loop.time(), _LEAST_SECONDS)
        channel: Channel | None = None
        try:
            _, channel = await self._loop.connect_accepted_socket(
                lambda: Channel(self._channels), sock, ssl=self._context(),
                ssl_handshake_timeout=left, ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )  # fmt: skip
        except OSError as error:  # which TLS's own errors are as well
            if sock in self._shaking:
                self._complaints.report(who, _failure(error))
            return
        finally:
            self._shaking.pop(sock, None)
            if channel is None:
                sock.close()  # asyncio may have failed before it took the socket over
        if channel.certificate is None:
            self._stranger(channel)
        else:
            self._paired(channel)


def _failure(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, ConnectionAbortedError):
        return _SILENT
    return "hung up during the TLS handshake"
