# SPDX-License-Identifier: Apache-2.0
"""The receiving end of sd_notify(3)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Notification:
    """One datagram: its assignments, and the fds that came with it (closed when the receiver ends)."""

    lines: list[str]
    fds: list[int] = field(default_factory=list)


class NotifyReceiver:
    """A service manager's notification socket, which reads only when told to."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
        self._fds: list[int] = []

    def receive(self) -> Notification | None:
        """Take one datagram; None where none is there."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, 65536, 16)
        except BlockingIOError:
            return None
        self._fds.extend(fds)
        return Notification(data.decode().split("\n"), fds)

    def drain(self) -> list[Notification]:
        """Take all that is there."""
        return list(iter(self.receive, None))

    async def wait(self) -> Notification:
        """Take one datagram when it comes."""
        loop = asyncio.get_running_loop()
        while (notification := self.receive()) is None:
            readable = loop.create_future()
            loop.add_reader(self._socket, readable.set_result, None)
            try:
                await readable
            finally:
                loop.remove_reader(self._socket)
        return notification

    def close(self) -> None:
        """Vanish, as a path does with its socket."""
        self._socket.close()
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        if not self.address.startswith("@"):
            Path(self.address).unlink(missing_ok=True)


@contextmanager
def notify_receiver(address: str | Path) -> Iterator[NotifyReceiver]:
    """Give a receiver, closed at the end."""
    receiver = NotifyReceiver(address)
    try:
        yield receiver
    finally:
        receiver.close()
