# SPDX-License-Identifier: Apache-2.0
"""A client without manners: sends any bytes, as many as it likes, and counts what comes back."""

from __future__ import annotations

import array
import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from missiond.bus.wire import message as wire
from missiond.bus.wire.address import connect
from missiond.bus.wire.encode import encode


class RawClient:
    """One authenticated socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self.serial = 0
        self.name = ""

    def frame(
        self, path: str, interface: str | None, member: str, signature: str = "",
        body: Sequence[object] = (), *,
        kind: int = wire.CALL, flags: int = 0, destination: str = "org.missiond.Agent1", fd_count: int = 0,
    ) -> bytes:  # fmt: skip
        """One message."""
        self.serial += 1
        return wire.build(
            kind, self.serial, flags=flags, path=path, interface=interface, member=member,
            destination=destination, signature=signature, body=encode(signature, body), fd_count=fd_count,
        )  # fmt: skip

    async def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes as they are, with descriptors."""
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self._sock.sendmsg([data], rights)
            data = data[sent:]
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> wire.Incoming:
        """Return the next message; raises EOFError at the end."""
        while True:
            if len(self._buffer) >= wire.FIXED:
                header, body = wire.lengths(self._buffer)
                if len(self._buffer) >= header + body:
                    frame, self._buffer = self._buffer[: header + body], self._buffer[header + body :]
                    return wire.Incoming(frame, header, body)
            data = await self._loop.sock_recv(self._sock, 1 << 20)
            if not data:
                raise EOFError
            self._buffer += data

    async def read(self) -> bool:
        """Take what has come and look at none of it; false at the end."""
        return bool(await self._loop.sock_recv(self._sock, 1 << 20))

    async def answers(self, count: int) -> list[wire.Incoming]:
        """Return that many replies and errors, passing over signals."""
        found: list[wire.Incoming] = []
        while len(found) < count:
            message = await self.receive()
            if message.type in (wire.RETURN, wire.ERROR):
                found.append(message)
        return found

    async def ask(self, data: bytes) -> wire.Incoming:
        """Send one call and return its answer."""
        await self.send(data)
        [answer] = await self.answers(1)
        return answer

    def close(self) -> None:
        """Vanish."""
        self._sock.close()


@asynccontextmanager
async def raw_client(address: str, *, fds: bool = False) -> AsyncIterator[RawClient]:
    """Connect for as long as the block lasts."""
    client = RawClient(await connect(address, fds=fds))
    try:
        hello = client.frame(
            "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", destination="org.freedesktop.DBus"
        )
        client.name = (await client.ask(hello)).body[0]
        yield client
    finally:
        client.close()
