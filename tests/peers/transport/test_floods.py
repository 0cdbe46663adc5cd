# SPDX-License-Identifier: Apache-2.0
"""Floods of connections: bounded, and peers are still served."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peers.transport.test_bad_network import trusted, victim
from standins.clients.raw_peer import context, new_identity, raw_peer


class SlowClient:
    """A handshake that stands still after its first message, for as long as wanted."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing)
        self.others: list[asyncio.StreamWriter] = []

    async def say_hello(self) -> None:
        """Begin, and wait until the other side has answered."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        self._writer.write(self._outgoing.read())
        self._incoming.write(await self._reader.read(65536))

    async def finish(self) -> bytes:
        """Do the rest, and return what is said then; fails where the other side has hung up meanwhile."""
        while True:
            try:
                self._tls.do_handshake()
                self._writer.write(self._outgoing.read())
                return self._tls.read()
            except ssl.SSLWantReadError:
                found = await self._reader.read(65536)
                assert found, "cut off in the middle of its handshake"
                self._incoming.write(found)


@asynccontextmanager
async def hoarded(port: int) -> AsyncIterator[Callable[[int, ssl.SSLContext | None], Awaitable[None]]]:
    """Opens connections from many addresses, and keeps them until the end."""
    hoard: list[Any] = []

    async def connect(number: int, tls: ssl.SSLContext | None) -> None:
        local = f"127.0.{number % 7}.{2 + number % 200}"
        with contextlib.suppress(OSError):  # which TLS's own errors are as well
            hoard.append(
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=tls, local_addr=(local, 0), server_hostname="" if tls else None
                )
            )

    try:
        yield connect
    finally:
        for _, writer in hoard:
            writer.transport.abort()


@pytest.mark.slow
async def test_floods_leave_room_for_peers(tmp_path: Path) -> None:
    async with victim(tmp_path) as one, hoarded(one.unit.port) as connect:
        tls = context()
        await asyncio.gather(*(connect(number, None) for number in range(200)))
        await asyncio.gather(*(connect(number, tls) for number in range(60)))
        assert len(one.unit._listener._silent) <= 64
        assert len(one.unit._listener._shaking) <= 64
        assert len(one.unit._strangers) <= 16
        friend = new_identity(tmp_path, "known")
        trusted(one, friend)
        async with raw_peer(one.unit.port, context(friend)) as raw:
            await raw.greet(friend)


async def test_a_flood_of_silence_ends_no_handshake(tmp_path: Path) -> None:
    """However many come between its first word and its last: here several times what there is room for."""
    async with victim(tmp_path) as one, hoarded(one.unit.port) as connect:
        friend = new_identity(tmp_path, "known")
        trusted(one, friend)
        reader, writer = await asyncio.open_connection("127.0.0.1", one.unit.port)
        slow = SlowClient(reader, writer, context(friend))
        await slow.say_hello()
        for _ in range(4):
            await asyncio.gather(*(connect(number, None) for number in range(60)))
        assert len(one.unit._listener._silent) == 64
        assert len(one.unit._listener._shaking) == 1
        assert b'"hello"' in await slow.finish()
        writer.transport.abort()


@pytest.mark.slow
async def test_a_flood_of_handshakes_spares_where_peers_have_been(tmp_path: Path) -> None:
    async with victim(tmp_path) as one:
        friend = new_identity(tmp_path, "known")
        trusted(one, friend)
        async with raw_peer(one.unit.port, context(friend)) as raw:
            await raw.greet(friend)
            await one.heard.until(lambda: one.device(friend.device_id).connected)
        await one.heard.until(lambda: one.device(friend.device_id).link is None)
        reader, writer = await asyncio.open_connection("127.0.0.1", one.unit.port)
        slow = SlowClient(reader, writer, context(friend))
        await slow.say_hello()
        for number in range(300):  # each begins to talk, and goes no further
            local = f"127.0.{number % 7}.{2 + number % 200}"
            with contextlib.suppress(OSError):
                _, other = await asyncio.open_connection("127.0.0.1", one.unit.port, local_addr=(local, 0))
                other.write(b"\x16\x03\x01\x02\x00")
                slow.others.append(other)
        await one.heard.until(lambda: ("complaint", "connections", "too many at a time") in one.heard.events)
        assert len(one.unit._listener._shaking) <= 64
        assert b'"hello"' in await slow.finish()
        for each in (writer, *slow.others):
            each.transport.abort()
