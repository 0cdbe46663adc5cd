# SPDX-License-Identifier: Apache-2.0
"""Whatever reaches the port: strangers, scanners, impostors and paired peers that have gone mad."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from missiond.peers.pairing.proof import Prover
from missiond.peers.transport import channel as channel_module
from missiond.peers.transport.frames import LIMIT
from missiond.peers.transport.identity import Identity
from missiond.peers.trust import TrustedPeer
from standins.agents.peer_units import Place, places, row, trust
from standins.clients.raw_peer import RawPeer, context, new_identity, raw_peer

HELLO = {"kind": "hello", "versions": [1, 1], "name": "raw", "instance": "i", "software": "raw 1"}


@asynccontextmanager
async def victim(tmp_path: Path) -> AsyncIterator[Place]:
    """One unit, which goes on whatever is done to it."""
    async with places(tmp_path, "victim", "friend") as both:
        one = next(place for place in both if place.name == "victim")
        friend = next(place for place in both if place.name == "friend")
        yield one
        # it still serves others
        trust(one, friend, address=False)
        trust(friend, one)
        await friend.until_connected(one)


async def complaint(place: Place, text: str) -> None:
    """Wait until somebody is complained about in these words."""
    await place.heard.until(lambda: [what for _, what in place.heard.of("complaint") if text in what])


def trusted(place: Place, identity: Identity) -> None:
    """Let a unit trust a raw peer."""
    place.unit.keep(TrustedPeer(identity.device_id, "raw", identity.certificate))


async def test_no_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with victim(tmp_path) as one:
        for _ in range(20):
            async with raw_peer(one.unit.port, None) as raw:
                raw.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await raw.cut_off()
        await complaint(one, "TLS: ")
        assert len([line for line in caplog.messages if "TLS: " in line]) == 1


async def test_silence_before_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("missiond.peers.transport.listener._HANDSHAKE_SECONDS", 0.2)
    async with victim(tmp_path) as one:
        async with raw_peer(one.unit.port, None) as raw:
            assert await raw.cut_off() == []
        await complaint(one, "no TLS handshake in time")


async def test_old_tls(tmp_path: Path) -> None:
    async with victim(tmp_path) as one:
        with pytest.raises((ssl.SSLError, OSError)):
            async with raw_peer(one.unit.port, context(version=ssl.TLSVersion.TLSv1_2)):
                pass
        await complaint(one, "unsupported protocol")


async def test_a_foreign_certificate(tmp_path: Path) -> None:
    async with victim(tmp_path) as one:
        stranger = new_identity(tmp_path, "stranger")
        async with raw_peer(one.unit.port, context(stranger)) as raw:
            raw.say(**HELLO, device=stranger.device_id)
            assert await raw.cut_off() == []
        await complaint(one, "certificate verify failed")


async def test_a_certificate_of_a_trusted_name_with_another_key(tmp_path: Path) -> None:
    async with victim(tmp_path) as one:
        friend = new_identity(tmp_path, "known", common_name="the same")
        forged = new_identity(tmp_path, "forged", common_name="the same")
        trusted(one, friend)
        async with raw_peer(one.unit.port, context(forged)) as raw:
            assert await raw.cut_off() == []
        with pytest.raises(Exception, match="name of another peer"):
            trusted(one, forged)
        async with raw_peer(one.unit.port, context(friend)) as raw:
            await raw.greet(friend)


async def test_an_expired_certificate(tmp_path: Path) -> None:
    async with victim(tmp_path) as one:
        old = new_identity(tmp_path, "old", begin=dt.datetime(2001, 1, 1), end=dt.datetime(2002, 1, 1))
        trusted(one, old)
        async with raw_peer(one.unit.port, context(old)) as raw:
            assert await raw.cut_off() == []
        await complaint(one, "certificate verify failed")


@pytest.mark.parametrize(
    "body",
    [
        b"\0\0\0\0", b"\x80\0\0\0", b"\xff\xff\xff\xff", (8193).to_bytes(4, "big"),
        b"\0\0\0\1x", b"\0\0\0\2{}", b"\0\0\0\4null", b"\0\0\0\2\xff\xfe",
        b"\0\0\x10\0" + b"[" * 4096, b"\0\0\0\x10" + b'{"kind":"hello"}',
        b"\0\0\0\x11" + b'{"kind":"reveal"}', b"\0\0\0\x0f" + b'{"kind":"pair"}',
        b"\0\0\0\x0a" + b'{"kind":1}',
    ],
)  # fmt: skip
async def test_strangers_that_say_rubbish(tmp_path: Path, body: bytes) -> None:
    async with victim(tmp_path) as one:
        async with raw_peer(one.unit.port, context()) as raw:
            raw.write(body)
            assert await raw.cut_off() == []
        await one.heard.until(lambda: one.heard.of("complaint"))


async def test_a_stranger_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("missiond.peers.transport.unauthenticated.PATIENCE", 100)
    async with victim(tmp_path) as one:
        for start in (b"", b"\0\0\0", b"\0\0\0\5{"):
            async with raw_peer(one.unit.port, context()) as raw:
                raw.write(start)
                assert await raw.cut_off() == []
        await complaint(one, "said nothing")


async def test_a_stranger_that_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with victim(tmp_path) as one:
        stranger = new_identity(tmp_path, "stranger")
        hello = Prover(stranger, one.unit.identity.certificate).hello
        said = {"certificate": stranger.certificate, "commitment": bytes(32), "hello": hello}
        async with raw_peer(one.unit.port, context()) as raw:
            while not one.unit._strangers:
                await asyncio.sleep(0)
            monkeypatch.setattr("missiond.peers.transport.unauthenticated.PATIENCE", 1)
            raw.say(
                kind="pair",
                name="raw",
                **{key: base64.b64encode(data).decode() for key, data in said.items()},
            )
            assert [message["kind"] for message in await raw.cut_off()] == ["challenge"]
        await complaint(one, "proved nothing in time")


async def test_introductions_of_strangers_change_nothing(tmp_path: Path) -> None:
    async with victim(tmp_path) as one:
        stranger = new_identity(tmp_path, "stranger")
        known = new_identity(tmp_path, "known")
        one.commands.trust_device(known.device_id, {})
        for certificate in (stranger.certificate, b"nonsense", known.certificate + stranger.certificate):
            async with raw_peer(one.unit.port, context()) as raw:
                raw.say(kind="introduce", certificate=base64.b64encode(certificate).decode())
                assert await raw.cut_off() == []
        peer = one.unit.trust.get(known.device_id)
        assert peer is not None
        assert peer.certificate is None
        async with raw_peer(one.unit.port, context()) as raw:
            raw.say(kind="introduce", certificate=base64.b64encode(known.certificate).decode())
            assert await raw.cut_off() == []
        async with raw_peer(one.unit.port, context(known)) as raw:
            await raw.greet(known)


@asynccontextmanager
async def paired(tmp_path: Path) -> AsyncIterator[tuple[Place, RawPeer, Identity]]:
    """A unit, and a peer that it trusts and that has not said anything yet."""
    async with victim(tmp_path) as one:
        identity = new_identity(tmp_path, "raw")
        trusted(one, identity)
        async with raw_peer(one.unit.port, context(identity)) as raw:
            yield one, raw, identity


async def test_the_right_certificate_and_a_wrong_hello(tmp_path: Path) -> None:
    async with paired(tmp_path) as (one, raw, identity):
        raw.say(**HELLO, device="ab" * 32)
        said = await raw.cut_off()
        assert said[0]["kind"] == "hello"
        assert "accepted" not in [message["kind"] for message in said]
        assert not one.device(identity.device_id).connected
        await one.heard.until(lambda: one.heard.of("complaint"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        b"\0\0\0\0", b"\x80\0\0\0", (LIMIT + 1).to_bytes(4, "big"), b"\0\0\0\1\xff",
        b"\0\1\0\0" + b"[" * 65536, b"\0\1\0\0" + b'{"a":' * 13107 + b"0", b"\0\0\0\2[]", b"\0\0\0\4null",
        b"\0\0\0\x12" + b'{"kind":"unknown"}', b"\0\0\0\x15" + b'{"kind":"ping","n":-1}'[:21],
        b"\0\0\0\x18" + b'{"kind":"ping","n":1e999}'[:24], b"\0\0\0\x16" + b'{"kind":"ping","n":""}',
    ],
)  # fmt: skip
async def test_paired_peers_that_say_rubbish(tmp_path: Path, body: bytes) -> None:
    async with paired(tmp_path) as (one, raw, identity):
        await raw.greet(identity)
        await one.heard.until(lambda: one.device(identity.device_id).connected)
        raw.write(body)
        await raw.cut_off()
        assert one.heard.of("disconnected") == [(identity.device_id,)]
        assert len(one.heard.of("complaint")) == 1


async def test_what_a_later_version_says_may_be_ignored(tmp_path: Path) -> None:
    async with paired(tmp_path) as (_, raw, identity):
        await raw.greet(identity)
        raw.say(kind="dance", optional=True, partner=[1, 2])
        raw.say(kind="ping", n=7)
        assert (await raw.until("pong"))["n"] == 7


async def test_half_a_frame_and_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "FRAME_SECONDS", 0.1)
    async with paired(tmp_path) as (one, raw, identity):
        await raw.greet(identity)
        raw.say(kind="ping", n=1)
        await raw.until("pong")
        raw.write(b"\0\0\1\0{")
        await raw.cut_off()
        await complaint(one, "a frame that does not end")


@pytest.mark.slow
async def test_a_list_that_grows_without_end(tmp_path: Path) -> None:
    async with paired(tmp_path) as (one, raw, identity):
        one.commands.start_sync(identity.device_id, False, 0)
        await raw.greet(identity)
        subscription = await raw.until("subscribe")
        number = 0
        said = asyncio.ensure_future(raw.cut_off())
        while not said.done():
            rows = [list(row(number + extra + 1)) for extra in range(500)]
            number += 500
            raw.say(kind="update", sub=subscription["sub"], list_id=5, prev_seq=0, last_seq=5,
                    full=True, rows=rows, removed=[], more=True)  # fmt: skip
            with contextlib.suppress(OSError):
                await raw.drain()
            assert number < 100_000
        await complaint(one, "a list of more than")
        assert len(one.device(identity.device_id).view) == 0


async def test_a_peer_that_asks_and_never_reads(tmp_path: Path) -> None:
    async with paired(tmp_path) as (one, raw, identity):
        one.unit.publish([row(number, "x" * 900) for number in range(1, 1000)])
        await raw.greet(identity)
        link = one.device(identity.device_id).link
        assert link is not None
        raw._reader._transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(2000):
            raw.say(kind="subscribe", sub=number, tag=0, fix_conflict=False, list_id=0, have_seq=0,
                    snapshots=False)  # fmt: skip
        transport = link._channel._transport
        assert transport is not None
        for _ in range(200):
            await asyncio.sleep(0)
            assert transport.get_write_buffer_size() <= 2 * LIMIT
