# SPDX-License-Identifier: Apache-2.0
"""The sending half of sd_notify(3), in order and without ever blocking.

`systemd.daemon.notify` is not used for it: sd_notify(3) sends on a blocking socket, so a service manager that
is busy (a reload of many units, say) would stop the event loop, and with it everybody's calls.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections import deque
from dataclasses import dataclass

from missiond.common.backoff import Backoff

_LOGGER = logging.getLogger(__name__)
_FULL = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS)
_VANISHED = (errno.ECONNREFUSED, errno.ENOENT, errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE)
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0


@dataclass(slots=True, eq=False)
class Notice:
    """One datagram. Of waiting ones with the same `key`, only the last is sent; "" keeps all."""

    text: str
    fd: int | None = None
    key: str = ""


class NotifySocket:
    """The socket named by $NOTIFY_SOCKET: a path, or "@" and an abstract name.

    What can't be sent waits its turn, with its own duplicate of the file descriptor. Without an address
    nothing is ever sent.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.enabled = address.startswith(("/", "@")) and len(address) > 1
        self._socket: socket.socket | None = None
        self._waiting: deque[Notice] = deque()
        self._writer_loop: asyncio.AbstractEventLoop | None = None
        self._retries = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)

    @property
    def waiting(self) -> int:
        """How many notices could not be sent so far."""
        return len(self._waiting)

    def send(self, notice: Notice) -> bool:
        """Send now where possible at once (true), else as soon as possible (false).

        Never raises for the socket's sake. The notice's fd stays the caller's; raises OSError where it is no
        open fd or can't be duplicated.
        """
        if not self.enabled:
            return False
        if notice.key:
            self.drop(notice.key)
        if not self._waiting and self._try(notice):
            return True
        fd = None if notice.fd is None else os.dup(notice.fd)
        self._waiting.append(Notice(notice.text, fd, notice.key))
        if not self._retries.waiting and self._writer_loop is None:
            self._flush()
        return False

    def drop(self, key: str) -> bool:
        """Forget the waiting notices with this key; true where there were any."""
        dropped = [notice for notice in self._waiting if notice.key == key]
        for notice in dropped:
            self._waiting.remove(notice)
            _close(notice)
        return bool(dropped)

    def close(self) -> None:
        """Forget the waiting notices."""
        self._stop_waiting()
        while self._waiting:
            _close(self._waiting.popleft())
        self._disconnect()
        self.enabled = False

    def _flush(self) -> None:
        self._stop_waiting()
        while self._waiting and self._try(self._waiting[0]):
            _close(self._waiting.popleft())
        if self._waiting:
            self._wait()

    def _try(self, notice: Notice) -> bool:
        """Send one notice; false where that is not possible now."""
        try:
            connected = self._connected()
            if notice.fd is None:
                connected.send(notice.text.encode("utf-8", "replace"))
            else:
                socket.send_fds(connected, [notice.text.encode("utf-8", "replace")], [notice.fd])
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            if error.errno in _VANISHED:
                self._disconnect()
                return False
            if error.errno in _FULL:
                return False
            # Nothing that a later attempt could change.
            _LOGGER.warning("the service manager can't be told %.40r: %s", notice.text, error.strerror)
        self._retries.reset()
        return True

    def _connected(self) -> socket.socket:
        """Connect, so that a full queue of the receiver is told from one that has room (unix(7), poll(2))."""
        if self._socket is None:
            new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                new.setblocking(False)
                new.connect(self._address)
            except BaseException:
                new.close()
                raise
            self._socket = new
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _wait(self) -> None:
        """Try again when the receiver has room, or after a pause where there is no receiver."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # the next notice tries again
        if self._socket is not None and self._retries.fresh:
            self._writer_loop = loop
            loop.add_writer(self._socket, self._writable)
        else:
            self._retries.later(self._flush)

    def _writable(self) -> None:
        before = len(self._waiting)
        self._flush()
        if len(self._waiting) == before and self._writer_loop is not None:
            # Room in the queue is not all that was missing; don't spin.
            self._stop_waiting()
            self._retries.next()
            self._wait()

    def _stop_waiting(self) -> None:
        if self._writer_loop is not None and self._socket is not None:
            self._writer_loop.remove_writer(self._socket)
        self._writer_loop = None
        self._retries.cancel()


def _close(notice: Notice) -> None:
    if notice.fd is not None:
        os.close(notice.fd)
