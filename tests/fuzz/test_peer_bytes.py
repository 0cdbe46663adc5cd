# SPDX-License-Identifier: Apache-2.0
"""Bytes for the peer unit's port, before TLS, inside it from strangers, while pairing, and from paired peers.

Whatever comes, the unit goes on, trusts nobody more than before, and gives everything back.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from missiond.peers.pairing.proof import Prover
from missiond.peers.trust import TrustedPeer
from standins.agents.peer_units import places
from standins.clients.raw_peer import RawPeer, context, new_identity, raw_peer
from standins.open_files import open_files

pytestmark = pytest.mark.slow

EXAMPLES = max(40, int(os.environ.get("MISSIOND_FUZZ_CALLS", "5000")) // 50)
PATIENCE = 10.0
CALM = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
_KINDS = (
    "pair", "nonce", "reveal", "confirm", "reject", "introduce", "hello", "accepted", "refused", "subscribe",
    "unsubscribe", "update", "resync", "watch", "ping", "pong", "ask", "answer", "snapshots", "bye", "x",
)  # fmt: skip
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.just("\0\x1b[2J"),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
_NAMES = (
    "certificate", "code", "commitment", "device", "fix_conflict", "full", "have_seq", "instance", "last_seq",
    "list_id", "mission", "missions", "more", "n", "name", "nonce", "prev_seq", "reason", "removed", "rows",
    "snapshots", "software", "sub", "tag", "text", "value", "version", "versions", "what",
)  # fmt: skip
_BASE64 = st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode())
_MESSAGES = st.fixed_dictionaries(
    {"kind": st.sampled_from(_KINDS) | _VALUES},
    optional=dict.fromkeys(_NAMES, _VALUES | _BASE64),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Some frames with messages, of which bytes may be changed, missing or repeated; or anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = b"".join(framed(message) for message in draw(st.lists(_MESSAGES, min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["flip", "cut", "insert", "length"]))
        some = draw(st.binary(min_size=1, max_size=4))
        if how == "flip":
            data = data[:at] + some + data[at + len(some) :]
        elif how == "cut":
            data = data[:at]
        elif how == "insert":
            data = data[:at] + some + data[at:]
        else:
            data = draw(st.sampled_from([0, 1, 8193, 2**24, 2**31, 2**32 - 1])).to_bytes(4, "big") + data[4:]
    return data


def framed(message: dict[str, Any]) -> bytes:
    """As it goes over the wire."""
    body = json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body


class Scene:
    """A unit that trusts one peer, with a loop of its own for many examples."""

    def __init__(self, runner: asyncio.Runner, place: Path) -> None:
        self.run = runner.run
        self._around = places(place, "victim")
        [self.unit] = self.run(self._around.__aenter__())
        self.peer = new_identity(place, "raw")
        self.stranger = new_identity(place, "stranger")
        self.unit.unit.keep(TrustedPeer(self.peer.device_id, "raw", self.peer.certificate))

    async def say(self, data: bytes, how: str) -> None:
        """Say it on a connection of this kind, and leave once it was read."""
        tls = {"plain": None, "stranger": context(), "doubted": context(), "pairing": context()}
        async with asyncio.timeout(PATIENCE):
            async with raw_peer(self.unit.unit.port, tls.get(how, context(self.peer))) as raw:
                if how == "pairing":
                    await self._ask(raw)
                elif how == "doubted":
                    await self._doubt(raw)
                elif how == "paired":
                    await raw.greet(self.peer)
                raw.write(data)
                await raw.leave()
            await self._calm()

    async def well(self) -> None:
        """A good peer is served."""
        async with asyncio.timeout(PATIENCE):
            async with raw_peer(self.unit.unit.port, context(self.peer)) as raw:
                await raw.greet(self.peer)
                raw.say(kind="ping", n=7)
                assert (await raw.until("pong"))["n"] == 7
            await self._calm()

    async def _ask(self, raw: RawPeer) -> None:
        """The beginning of a pairing by a stranger who has proved who it is, and has a nonce."""
        pairings = self.unit.unit.pairings
        pairings._turn.answered()
        pairings._allowance._full_at.clear()
        own = self.unit.unit.identity.certificate
        assert (await raw.ask(self.stranger, own, bytes(32)))["kind"] == "nonce"

    async def _doubt(self, raw: RawPeer) -> None:
        """The first message of it, and what asks for the proof."""
        prover = Prover(self.stranger, self.unit.unit.identity.certificate)
        found = {"certificate": self.stranger.certificate, "commitment": bytes(32), "hello": prover.hello}
        raw.say(
            kind="pair", name="raw", **{key: base64.b64encode(data).decode() for key, data in found.items()}
        )
        await raw.until("challenge")

    async def _calm(self) -> None:
        """Wait until the unit has no connection any more, nor a handshake under way."""
        unit = self.unit.unit
        while unit.channels._open or unit._listener._shaking or unit._listener._silent:
            await asyncio.sleep(0)

    def trusted(self) -> list[TrustedPeer]:
        """Who is."""
        return list(self.unit.unit.trust)

    def close(self) -> None:
        """End it."""
        self.run(self._around.__aexit__(None, None, None))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """What is raised in its loop and not caught fails the test."""
    raised: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, found: raised.append(found))
        made = Scene(runner, tmp_path)
        try:
            yield made
        finally:
            made.close()
    assert raised == []


@pytest.mark.timeout(120 + EXAMPLES)
@pytest.mark.parametrize("how", ["plain", "stranger", "doubted", "pairing", "paired"])
def test_whatever_is_said(scene: Scene, caplog: pytest.LogCaptureFixture, how: str) -> None:
    @CALM
    @given(streams())
    def check(data: bytes) -> None:
        scene.run(scene.say(data, how))

    scene.run(scene.well())
    trusted, files = scene.trusted(), open_files()
    check()
    scene.run(scene.well())
    assert scene.trusted() == trusted
    assert open_files() == files
    assert scene.unit.heard.of("requested") == []
    assert scene.unit.heard.of("complaint")
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == []
