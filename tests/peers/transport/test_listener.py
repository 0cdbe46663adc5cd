# SPDX-License-Identifier: Apache-2.0
"""Connections that end before they have a channel leave no socket behind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from missiond.host.clocks.boottime import BootClock
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.transport.channel import Channels
from missiond.peers.transport.listener import Listener
from missiond.peers.transport.sockets import listen_on


def no_context() -> ssl.SSLContext:
    """As where the identity was taken away."""
    raise FileNotFoundError(2, "identity.pem")


async def test_a_connection_without_a_context_is_closed() -> None:
    listener = Listener(no_context, Channels(), PeerLogLimiter(BootClock()), lambda _: None, lambda _: None)
    listener.add(listen_on("127.0.0.1", 0))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"\x16")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.transport.abort()
    finally:
        await listener.close()
