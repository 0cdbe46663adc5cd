# SPDX-License-Identifier: Apache-2.0
"""A dial that is given up leaves no socket behind."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from missiond.peers.transport import connect
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
