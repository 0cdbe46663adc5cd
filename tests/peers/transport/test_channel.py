# SPDX-License-Identifier: Apache-2.0
"""How channels end with their unit, and how much of a processor the other side of one may take."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from missiond.errors import DistributedServiceFailed
from missiond.peers.transport import channel as channel_module
from missiond.peers.transport.channel import GOODBYE_SECONDS, Channel, Channels
from missiond.peers.transport.frames import frame
from missiond.peers.trust import TrustedPeer
from standins.agents.peer_units import Place, places, trust
from standins.clients.raw_peer import RawPeer, context, new_identity, raw_peer
from standins.open_files import open_files
from standins.worlds.clock_loop import ClockLoop


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is so."""
    while not condition():
        await asyncio.sleep(0)


@asynccontextmanager
async def silent_peer(one: Place, directory: Path, how: str) -> AsyncIterator[RawPeer | None]:
    """Somebody who answers nothing from now on, and does not hang up either."""
    peer = new_identity(directory, "raw")
    one.unit.keep(TrustedPeer(peer.device_id, "raw", peer.certificate))
    tls = {"plain": None, "paired": context(peer), "greeted": context(peer)}
    async with raw_peer(one.unit.port, tls.get(how, context())) as raw:
        if how == "plain":
            raw.write(b"\x16\x03\x01\x02\x00")  # a handshake that stands still
            await until(lambda: one.unit._listener._shaking)
        elif how == "stranger":
            await until(lambda: len(one.unit._strangers))
        elif how == "introduced":
            raw.say(kind="introduce", certificate="")
        elif how == "pairing":
            await raw.ask(peer, one.unit.identity.certificate, bytes(32))
        elif how == "greeted":
            await raw.greet(peer)
        raw.pause()
        yield raw


HOW = ("plain", "stranger", "introduced", "pairing", "paired", "greeted")


def sockets() -> int:
    """How many this process has."""
    return sum(target.startswith("socket:") for target in open_files().values())


@pytest.mark.parametrize("how", HOW)
async def test_no_connection_outlives_the_unit(tmp_path: Path, how: str) -> None:
    before = sockets()
    async with places(tmp_path, "alpha") as [one], silent_peer(one, tmp_path, how):
        begun = time.monotonic()
        await one.stop()
        assert sockets() == before + 1  # the other side of it
        assert time.monotonic() - begun < GOODBYE_SECONDS + 2


async def test_no_dial_outlives_the_unit(tmp_path: Path) -> None:
    before = sockets()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        async with places(tmp_path, "alpha", "beta") as [one, other]:
            port = mute.getsockname()[1]
            one.commands.trust_device(other.id, {"address": f"127.0.0.1:{port}"})
            one.unit.found("ab" * 32, "test", ["127.0.0.1"], port)
            asked = asyncio.ensure_future(one.commands.request_pairing("ab" * 32))
            await until(lambda: len(one.unit.channels._dials) >= 2)
            await one.stop()
            await other.stop()
            assert sockets() == before + 1  # the one that is listened on
            with pytest.raises(DistributedServiceFailed, match="shutting down"):
                await asked


async def test_the_last_word_is_heard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        trust(other, one, address=False)
        trust(one, other)
        await one.until_connected(other)
        await other.until_connected(one)
        await one.stop()
        assert f"no longer connected to {one.name}: the peer said: shutting down" in caplog.messages


async def test_a_channel_that_is_closed_twice_can_be_cut_off(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one], silent_peer(one, tmp_path, "stranger"):
        [stranger] = one.unit._strangers._open
        stranger.channel.close()
        stranger.channel.close()
        stranger.channel.cut_off("test")
        await until(lambda: not len(one.unit._strangers))


class Transport:
    """What reads for a channel."""

    def __init__(self) -> None:
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False


async def test_who_makes_work_without_end_is_not_read_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ClockLoop(monkeypatch)
    monkeypatch.setattr(channel_module, "time", SimpleNamespace(monotonic=lambda: loop.now))
    transport, channel, worked = Transport(), Channel(Channels()), 0

    class Owner:
        def message(self, data: bytes) -> None:
            nonlocal worked
            worked += 1
            loop.now += 0.1

        def writable(self, *, now: bool) -> None:
            pass

        def lost(self, reason: str, *, broken: bool) -> None:
            pass

    channel.attach(Owner())
    channel._transport = transport  # type: ignore[assignment]
    begun = loop.now
    while loop.now < begun + 20:
        if transport.reading:
            channel.data_received(frame(b"x"))
        else:
            loop.advance(0.1)
    assert 0.1 * worked <= 20 * channel_module.SHARE + 2
    assert 0.1 * worked >= 20 * channel_module.SHARE - 2
    channel._transport = None
    channel.connection_lost(None)
    assert asyncio.get_running_loop() is not None
