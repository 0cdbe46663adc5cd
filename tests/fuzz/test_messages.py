# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no messages: they end or refuse the connection on which they come, and do nothing else."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.messages import spoilt
from fuzz.world import World, world_on
from missiond.bus.connection import Connection
from missiond.bus.server import Server
from missiond.bus.wire.transport import Transport
from standins.clients.raw_client import raw_client
from standins.open_files import open_files
from standins.programs.sample_service import PATH, SPECS, Sample

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("MISSIOND_FUZZ_CALLS", "5000")) // 20
FORGERS = max(60, EXAMPLES // 5)
PATIENCE = 10.0
CALM = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


class Line:
    """A connection of the agent's with a service on it, whose other end is ours instead of the bus's."""

    def __init__(self, *, fds: bool) -> None:
        self.peer, ours = socket.socketpair()
        ours.setblocking(False)
        self.peer.setblocking(False)
        self.connection = Connection()
        self.connection._transport = Transport(
            ours, fds=fds, on_message=self.connection._on_message, on_lost=self.connection._on_lost
        )
        self.server = Server(self.connection, SPECS, PATH)
        self.server.add(PATH, Sample())

    async def feed(self, data: bytes, cuts: list[int], fds: list[int]) -> None:
        """Send it in pieces of these sizes, descriptors with the first, and hang up."""
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(self._drain())
        with contextlib.suppress(ConnectionError):
            if fds:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
                sent = self.peer.sendmsg([data[:16]], rights)
                data = data[sent:]
            for size in cuts:
                await loop.sock_sendall(self.peer, data[:size])
                data = data[size:]
                await asyncio.sleep(0)
            await loop.sock_sendall(self.peer, data)
            self.peer.shutdown(socket.SHUT_WR)
        await self.connection.wait_for_disconnect()
        await reading

    async def _drain(self) -> None:
        with contextlib.suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(self.peer, 1 << 20):
                pass

    async def close(self) -> None:
        """End what still runs."""
        await self.server.drain()
        await self.connection.close()
        self.peer.close()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop for many examples; what is raised in it and not caught fails the test."""
    raised: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as running:
        running.get_loop().set_exception_handler(lambda _loop, context: raised.append(context))
        yield running
    assert raised == []


@pytest.mark.timeout(120 + EXAMPLES // 5)
@pytest.mark.parametrize("fds", [False, True])
def test_spoilt_messages_end_the_connection_at_most(
    runner: asyncio.Runner, fds: bool, caplog: pytest.LogCaptureFixture
) -> None:
    spare = os.open("/dev/null", os.O_RDONLY)

    async def one(data: bytes, cuts: list[int], count: int) -> None:
        line = Line(fds=fds)
        try:
            async with asyncio.timeout(PATIENCE):
                await line.feed(data, cuts, [spare] * count if fds else [])
        finally:
            await line.close()

    @CALM
    @given(spoilt(), st.lists(st.integers(1, 40), max_size=3), st.integers(0, 4))
    def check(data: bytes, cuts: list[int], count: int) -> None:
        runner.run(one(data, cuts, count))

    runner.run(one(b"l", [], 0))
    before = open_files()
    check()
    assert open_files() == before
    os.close(spare)
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == []


@pytest.mark.timeout(120 + EXAMPLES // 5)
def test_others_hear_nothing_of_forgers(runner: asyncio.Runner, system_bus: str, tmp_path: Path) -> None:
    scene = world_on(system_bus, tmp_path)
    world = runner.run(scene.__aenter__())
    try:
        runner.run(world.play([], pipelined=False))
        before = world.held()

        @settings(CALM, max_examples=FORGERS)
        @given(spoilt(kinds=(1, 4)))
        def check(data: bytes) -> None:
            runner.run(_forge(world, system_bus, data))

        check()
        world.check()
        assert world.held().fds == before.fds
    finally:
        runner.run(scene.__aexit__(None, None, None))


async def _forge(world: World, address: str, data: bytes) -> None:
    async with raw_client(address, fds=True) as raw:
        with contextlib.suppress(ConnectionError):
            await raw.send(data)
        await world.play([], pipelined=False)
