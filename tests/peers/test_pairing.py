# SPDX-License-Identifier: Apache-2.0
"""Pairing over the network: people on both sides, strangers between and beside them."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest

from missiond.core.pairing import commitment
from missiond.errors import DistributedServiceFailed, InvalidParameter
from missiond.peers import meeting as meeting_module
from missiond.peers.certificate import device_id
from standins.peer_units import Place, places
from standins.raw_peer import RawPeer, context, new_identity, raw_peer


async def begin(one: Place, other: Place) -> str:
    """Let one ask the other; the code that both show."""
    one.discover(other)
    code = await one.commands.request_pairing(other.id)
    await other.heard.until(lambda: other.heard.of("requested"))
    [(device_id, name, shown)] = other.heard.of("requested")
    assert (device_id, name, shown) == (one.id, one.name, code)
    assert one.device(other).state == other.device(one).state == "pairing"
    return code


async def until_over(one: Place, other: Place) -> None:
    """Wait for the end of a pairing on both sides."""
    for here, there in ((one, other), (other, one)):
        await here.heard.until(
            lambda here=here, there=there: (  # type: ignore[misc]
                (device := here.unit.devices.get(there.id)) is None or not device.pairing
            )
        )


@pytest.mark.parametrize("first", [0, 1])
async def test_yes_on_both_sides(tmp_path: Path, first: int) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await begin(one, other)
        sides = [(one, other), (other, one)]
        for here, there in (sides[first], sides[1 - first]):
            here.commands.confirm_pairing(there.id, True)
        await one.until_connected(other)
        await other.until_connected(one)
        assert one.commands.list_peers()[0][4] == ["sync"]
        assert other.commands.list_peers()[0][:3] == (one.id, one.name, "connected")
        assert other.heard.of("complaint") == one.heard.of("complaint") == []
        with pytest.raises(InvalidParameter, match="already"):
            await one.commands.request_pairing(other.id)


@pytest.mark.parametrize("no", [0, 1])
@pytest.mark.parametrize("after_yes", [False, True])
async def test_no_on_one_side(tmp_path: Path, no: int, after_yes: bool) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await begin(one, other)
        sides = [(one, other), (other, one)]
        (here, there), (sure, unsure) = sides[no], sides[1 - no]
        if after_yes:
            sure.commands.confirm_pairing(unsure.id, True)
            await sure.heard.until(lambda: sure.unit.trust.get(unsure.id))
        here.commands.confirm_pairing(there.id, False)
        await until_over(one, other)
        assert list(one.unit.trust) == list(other.unit.trust) == []
        assert list((one.directory / "peers").iterdir()) == list((other.directory / "peers").iterdir()) == []
        with pytest.raises(InvalidParameter, match="no pairing"):
            one.commands.confirm_pairing(other.id, True)


async def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting_module, "LIMIT", 500)
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await begin(one, other)
        one.commands.confirm_pairing(other.id, True)
        await until_over(one, other)
        assert list(one.unit.trust) == list(other.unit.trust) == []


async def test_both_ask_at_once_and_see_one_code(tmp_path: Path) -> None:
    for number in range(5):
        place = tmp_path / str(number)
        place.mkdir()
        async with places(place, "alpha", "beta") as [one, other]:
            one.discover(other)
            other.discover(one)
            codes = await asyncio.gather(
                one.commands.request_pairing(other.id), other.commands.request_pairing(one.id)
            )
            assert codes[0] == codes[1]
            assert one.heard.of("requested") == other.heard.of("requested") == []
            assert await one.commands.request_pairing(other.id) == codes[0]
            one.commands.confirm_pairing(other.id, True)
            other.commands.confirm_pairing(one.id, True)
            await one.until_connected(other)


async def test_the_other_side_vanishes(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await begin(one, other)
        await one.stop()
        await other.heard.until(lambda: other.heard.of("gone"))
        assert list(other.unit.trust) == []
        one.start()
        other.discover(one)
        await begin_again(other, one)


async def begin_again(one: Place, other: Place) -> None:
    """After an end, another beginning."""
    before = len(other.heard.of("requested"))
    code = await one.commands.request_pairing(other.id)
    await other.heard.until(lambda: len(other.heard.of("requested")) > before)
    assert other.heard.of("requested")[-1][2] == code


async def test_somebody_else_at_the_address(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        wanted = "ab" * 32
        one.unit.found(wanted, "test", ["127.0.0.1"], other.unit.port)
        with pytest.raises(DistributedServiceFailed, match="another device"):
            await one.commands.request_pairing(wanted)
        one.unit.found(wanted, "test", ["127.0.0.1"], 1)
        with pytest.raises(DistributedServiceFailed, match="can't be reached"):
            await one.commands.request_pairing(wanted)
        assert other.heard.of("requested") == []


async def ask(raw: RawPeer, one: Place, certificate: bytes, nonce: bytes) -> None:
    """Begin a pairing as a stranger does."""
    promise = commitment(nonce, certificate, one.unit.identity.certificate)
    raw.say(
        kind="pair", name="stranger\x1b[31m\u202e", certificate=base64.b64encode(certificate).decode(),
        commitment=base64.b64encode(promise).decode(),
    )  # fmt: skip


async def test_strangers_cannot_keep_asking_people(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        answers = []
        for number in range(12):
            stranger = new_identity(tmp_path, f"s{number}")
            async with raw_peer(one.unit.port, context()) as raw:
                nonce = os.urandom(32)
                await ask(raw, one, stranger.certificate, nonce)
                answer = await raw.hear()
                answers.append(answer["kind"])
                if answer["kind"] == "nonce":
                    raw.say(kind="reveal", nonce=base64.b64encode(nonce).decode())
                    await one.heard.until(
                        lambda stranger=stranger: (
                            stranger.device_id  # type: ignore[misc]
                            in [requested[0] for requested in one.heard.of("requested")]
                        )
                    )
        assert answers == ["nonce"] * 3 + ["reject"] * 9
        assert {requested[1] for requested in one.heard.of("requested")} == {"stranger [31m"}


async def test_a_nonce_that_was_changed(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        stranger = new_identity(tmp_path, "stranger")
        async with raw_peer(one.unit.port, context()) as raw:
            await ask(raw, one, stranger.certificate, os.urandom(32))
            await raw.until("nonce")
            raw.say(kind="reveal", nonce=base64.b64encode(os.urandom(32)).decode())
            assert await raw.cut_off() == []
        assert one.heard.of("requested") == []
        assert "changed its nonce" in one.heard.of("complaint")[0][1]
        await one.heard.until(lambda: one.heard.of("gone"))


async def test_pairing_with_the_certificate_of_another_gives_nothing(tmp_path: Path) -> None:
    """People would have to confirm a code that nobody shows, and then trust whose certificate it is."""
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        nonce = os.urandom(32)
        async with raw_peer(one.unit.port, context()) as raw:
            await ask(raw, one, other.unit.identity.certificate, nonce)
            await raw.until("nonce")
            raw.say(kind="reveal", nonce=base64.b64encode(nonce).decode())
            await one.heard.until(lambda: one.heard.of("requested"))
            # a second one for the same device waits, and so does that of the device itself
            async with raw_peer(one.unit.port, context()) as second:
                await ask(second, one, other.unit.identity.certificate, nonce)
                assert (await second.hear())["reason"] == "busy"
            one.commands.confirm_pairing(other.id, True)
            await raw.until("confirm")
            raw.say(kind="confirm")
            await raw.cut_off()
        await one.heard.until(lambda: one.device(other).state == "offline")
        assert device_id(one.unit.trust.certificates()[0]) == other.id


async def test_own_certificate_and_rubbish(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        for certificate in (one.unit.identity.certificate, b"rubbish", one.unit.identity.certificate * 2):
            async with raw_peer(one.unit.port, context()) as raw:
                await ask(raw, one, certificate, os.urandom(32))
                assert [message["kind"] for message in await raw.cut_off()] in ([], ["reject"])
        assert one.commands.list_peers() == []
