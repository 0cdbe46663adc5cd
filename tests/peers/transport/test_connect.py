# SPDX-License-Identifier: Apache-2.0
"""A dial that is given up leaves no socket behind, and one that fails says why."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from missiond.peers.transport import connect
from missiond.peers.transport.address import Address
from missiond.peers.transport.channel import Channels


@pytest.mark.parametrize("turns", range(8))
async def test_a_handshake_that_is_given_up_closes_its_socket(turns: int) -> None:
    """After however many turns of the loop: of an other side that says nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    dial = connect._Dial("", context, Channels(), 1000)
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        shaking = asyncio.ensure_future(connect._shake_hands(ours, dial))
        for _ in range(turns):
            await asyncio.sleep(0)
        shaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shaking
        if turns == 0:  # it had not begun, and its caller has the socket still
            ours.close()
        assert ours.fileno() == -1


@pytest.mark.parametrize(
    ("hang_up", "sentence"), [(False, "does not answer"), (True, "hung up during the TLS handshake")]
)
async def test_why_a_handshake_failed(hang_up: bool, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_HANDSHAKE_SECONDS", 0.05)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000 if hang_up else -1)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with pytest.raises(connect.NotReached, match=sentence):
            await connect.connect("", [Address("127.0.0.1", port)], context, Channels())
    finally:
        server.close()
        await server.wait_closed()
