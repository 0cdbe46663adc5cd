# SPDX-License-Identifier: Apache-2.0
"""Pairing over the network: people on both sides, strangers between and beside them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from missiond.core.pairing.messages import Pair
from missiond.core.pairing.pairing import LIMIT
from missiond.errors import DistributedServiceFailed, InvalidParameter
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.make_identity import store
from missiond.peers.pairing.proof import NotProved, Prover
from missiond.peers.transport import identity as identities
from missiond.peers.transport.identity import Identity
from missiond.peers.transport.unauthenticated import UnauthenticatedClients
from standins.agents.peer_units import Place, places
from standins.clients.raw_peer import context, new_identity, raw_peer


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
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await begin(one, other)
        one.commands.confirm_pairing(other.id, True)
        timers = one.unit.timers
        late = timers.clock.now() + LIMIT
        monkeypatch.setattr(timers.clock, "now", lambda: late)
        timers._fired()
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


def own(one: Place) -> bytes:
    """The certificate of a host."""
    return one.unit.identity.certificate


def requested(one: Place) -> list[str]:
    """The devices that people were asked about."""
    return [device for device, _name, _code in one.heard.of("requested")]


async def asked_for(one: Place, stranger: Identity, local: str = "127.0.0.1") -> str:
    """Let a stranger begin a pairing and go as far as people; what it was answered."""
    async with raw_peer(one.unit.port, context(), local=local) as raw:
        nonce = os.urandom(32)
        answer = await raw.ask(stranger, own(one), nonce, name="stranger\x1b[31m\u202e")
        if answer["kind"] == "nonce":
            raw.reveal(nonce)
            await one.heard.until(lambda: stranger.device_id in requested(one))
    return str(answer.get("reason", answer["kind"]))


async def test_strangers_cannot_keep_asking_people(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        answers = []
        for number in range(12):
            stranger = new_identity(tmp_path, f"s{number}")
            async with raw_peer(one.unit.port, context()) as raw:
                nonce = os.urandom(32)
                answer = await raw.ask(stranger, own(one), nonce, name="stranger\x1b[31m\u202e")
                answers.append(answer["kind"])
                if answer["kind"] == "nonce":
                    raw.reveal(nonce)
                    await one.heard.until(lambda: len(requested(one)) == len(answers))
                    one.commands.confirm_pairing(stranger.device_id, False)
        assert answers == ["nonce"] * 3 + ["reject"] * 9
        assert {requested[1] for requested in one.heard.of("requested")} == {"stranger [31m"}


async def test_a_nonce_that_was_changed(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        stranger = new_identity(tmp_path, "stranger")
        async with raw_peer(one.unit.port, context()) as raw:
            assert (await raw.ask(stranger, own(one), os.urandom(32)))["kind"] == "nonce"
            raw.reveal(os.urandom(32))
            assert await raw.cut_off() == []
        assert one.heard.of("requested") == []
        assert "changed its nonce" in one.heard.of("complaint")[0][1]
        await one.heard.until(lambda: one.heard.of("gone"))


@pytest.mark.parametrize("paired", [False, True])
async def test_who_shows_the_certificate_of_another_changes_nothing(tmp_path: Path, paired: bool) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        one.discover(other)
        if paired:
            one.commands.trust_device(other.id, {"name": "desk"})
            other.commands.trust_device(one.id, {})
            await one.until_connected(other)
        before = one.commands.list_peers()
        told = len(one.heard.events)
        stranger = new_identity(tmp_path, "stranger")
        for shown in (own(other), own(one), b"rubbish", own(other) * 2):
            async with raw_peer(one.unit.port, context()) as raw:
                with contextlib.suppress(EOFError, OSError):
                    await raw.ask(stranger, own(one), os.urandom(32), certificate=shown, name="EVIL")
                assert await raw.cut_off() == []
        async with raw_peer(one.unit.port, context()) as raw:
            raw.say(kind="pair", name="EVIL", certificate=text(own(other)), commitment=text(bytes(32)))
            assert await raw.cut_off() == [{"kind": "reject", "reason": "old"}]
        assert one.commands.list_peers() == before
        assert {event[0] for event in one.heard.events[told:]} == {"complaint"}
        assert not one.unit.pairings._turn.taken(one.unit.timers.clock.now())
        if not paired:
            await begin(one, other)


def text(data: bytes) -> str:
    """Bytes, as messages have them."""
    return base64.b64encode(data).decode()


async def test_a_proof_is_of_no_use_at_another_host(tmp_path: Path) -> None:
    """Somebody between two hosts passes the proof on that the caller meant for him."""
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        between = new_identity(tmp_path, "between")
        prover = Prover(one.unit.identity, between.certificate)
        async with raw_peer(other.unit.port, context()) as raw:
            raw.say(
                kind="pair", name="one", certificate=text(own(one)),
                commitment=text(bytes(32)), hello=text(prover.hello),
            )  # fmt: skip
            flight = base64.b64decode((await raw.hear())["flight"])
            with pytest.raises(NotProved, match="another host"):
                prover.answer(flight)


async def test_a_certificate_that_issues_others_proves_only_itself(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        issuer, issued = issuer_and_issued(tmp_path)
        async with raw_peer(one.unit.port, context()) as raw:
            with contextlib.suppress(EOFError, OSError):
                await raw.ask(issued, own(one), os.urandom(32), certificate=issuer)
            assert await raw.cut_off() == []
        assert one.commands.list_peers() == []


def issuer_and_issued(directory: Path) -> tuple[bytes, Identity]:
    """A certificate that may issue others, and a device that has one of these."""
    key, issued_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name, begin, end = x509.Name([]), dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])

    def made(public: ec.EllipticCurvePublicKey, subject: x509.Name, *, ca: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        limits = x509.BasicConstraints(ca=ca, path_length=None)
        return builder.add_extension(limits, critical=True).sign(key, hashes.SHA256())

    other = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issued")])
    leaf = made(issued_key.public_key(), other, ca=False)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    secret = issued_key.private_bytes(pem, form, serialization.NoEncryption())
    place = directory / "issued"
    place.mkdir()
    store(place, secret + leaf.public_bytes(pem))
    issuer = made(key.public_key(), name, ca=True).public_bytes(serialization.Encoding.DER)
    return issuer, identities.load(place)


# --- guesses


async def broken_off(one: Place, stranger: Identity, number: int) -> int:
    """Let somebody learn the code and hang up before people see it; how many codes it learned: 0 or 1."""
    async with raw_peer(one.unit.port, context(), local=f"127.0.1.{1 + number % 250}") as raw:
        answer = await raw.ask(stranger, own(one), os.urandom(32))
    return int(answer["kind"] == "nonce")


@pytest.mark.slow
async def test_somebody_in_between_has_one_guess_while_a_code_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From wherever it tries: whoever knows the code and hangs up has made a guess."""
    monkeypatch.setattr(PeerLogLimiter, "report", lambda *_: None)
    caplog.set_level(logging.INFO)
    async with places(tmp_path, "alpha") as [one]:
        clock = one.unit.timers.clock
        start, moved = clock.now(), 0
        monkeypatch.setattr(clock, "now", lambda: start + moved)
        guesses = 0
        between = [new_identity(tmp_path, f"b{number}") for number in range(5)]
        for number in range(60):  # for as long as the caller shows its code
            moved = number * LIMIT // 60
            guesses += await broken_off(one, between[number % 5], number)
        assert guesses == 1
        assert one.heard.of("requested") == []
        await one.heard.until(lambda: one.heard.of("gone"))
        told = [line for line in caplog.messages if "people here never saw it" in line]
        assert len(told) == 1
        # nor are there more where people are shown the codes, and nobody has answered yet
        moved = 10 * LIMIT
        answers = [await asked_for(one, each, f"127.0.2.{2 + number}") for number, each in enumerate(between)]
        assert answers == ["nonce"] + ["busy"] * 4
        assert len(one.heard.of("requested")) == 1


@pytest.mark.slow
async def test_many_that_were_broken_off_leave_room_for_an_honest_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeerLogLimiter, "report", lambda *_: None)
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        clock = one.unit.timers.clock
        start, moved = clock.now(), 0
        monkeypatch.setattr(clock, "now", lambda: start + moved)
        stranger = new_identity(tmp_path, "stranger")
        guesses = 0
        for number in range(50):  # three times as many as strangers may be there
            moved = number * 20_000
            guesses += await broken_off(one, stranger, number)
        assert guesses <= 1 + 50 * 20_000 // LIMIT
        assert len(one.unit._strangers) <= 16
        # people here can ask at any time, and be asked after two minutes
        await begin(one, other)
        other.commands.confirm_pairing(one.id, False)
        await until_over(one, other)
        moved += 2 * LIMIT
        await begin(other, one)
        for here, there in ((one, other), (other, one)):
            here.commands.confirm_pairing(there.id, True)
        await one.until_connected(other)


async def test_pairing_with_a_host_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for no proof, and so can be asked; that it asks is refused, for it can give none."""
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        monkeypatch.setattr(
            UnauthenticatedClients, "_doubt", lambda self, stranger, message: self._earlier(stranger, message)
        )
        monkeypatch.setattr(UnauthenticatedClients, "_earlier", earlier, raising=False)
        await begin(one, other)
        monkeypatch.undo()
        other.commands.confirm_pairing(one.id, False)
        await until_over(one, other)
        monkeypatch.setattr(Prover, "__init__", no_proof)
        one.discover(other)
        with pytest.raises(DistributedServiceFailed, match="later version"):
            await one.commands.request_pairing(other.id)
        assert any("earlier version" in what for _, what in other.heard.of("complaint"))


def earlier(strangers: UnauthenticatedClients, stranger: Any, message: Pair) -> None:
    """Believe whoever asks."""
    strangers.left(stranger)
    strangers._pair(stranger.channel, message)


def no_proof(prover: Prover, _identity: Identity, _called: bytes) -> None:
    """Say nothing of a proof."""
    prover.hello = b""
