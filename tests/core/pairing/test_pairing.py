# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.pairing.messages import (
    BUSY,
    REJECTED,
    Challenge,
    Confirm,
    Introduce,
    Pair,
    PairingAnswer,
    PairingMessage,
    Proof,
    Reject,
    Reveal,
    parse,
    serialise,
)
from missiond.core.pairing.pairing import (
    LIMIT,
    PairingFailed,
    PairingInitiator,
    PairingResponder,
    Turn,
    commitment,
    verification_code,
)
from missiond.core.schema import BadValue

A, B = b"certificate of a", b"certificate of b"
NONCE_A, NONCE_B = b"a" * 32, b"b" * 32


def exchange() -> tuple[PairingInitiator, PairingResponder]:
    """Both sides once they have the code, every message having gone over the wire."""
    caller, called = PairingInitiator(A, "alpha", NONCE_A, B), PairingResponder(B, "beta", NONCE_B)
    message: PairingMessage | None = caller.start()
    sides = [called, caller]
    while message is not None:
        message = sides[0].received(parse(serialise(message)))
        sides.reverse()
    return caller, called


def test_both_sides_show_the_same_code_and_names() -> None:
    caller, called = exchange()
    assert caller.code == called.code == verification_code(NONCE_A, NONCE_B, A, B)
    assert len(caller.code) == 7
    assert caller.code[3] == " "
    assert caller.code.replace(" ", "").isdecimal()
    assert (caller.peer_name, called.peer_name) == ("beta", "alpha")
    assert called.peer_certificate == A


def test_it_is_done_when_people_on_both_sides_say_yes_in_any_order() -> None:
    for order in ((0, 1), (1, 0)):
        sides = exchange()
        first, second = (sides[number] for number in order)
        assert second.received(first.confirm()) is None
        assert not first.done
        assert not second.done
        first.received(second.confirm())
        assert first.done
        assert second.done


def test_one_nonce_at_a_time_however_many_ask() -> None:
    turn, given = Turn(), []
    for now in range(0, 1_000_000, 1000):  # whoever gets one breaks off
        if not turn.taken(now):
            turn.give(now)
            given.append(now)
    assert all(later - earlier > LIMIT for earlier, later in pairwise(given))
    assert len(given) == 8  # and it is not shut for ever
    turn.answered()
    assert not turn.taken(1_000_000)


def test_the_caller_proves_its_key_once_and_before_there_is_a_code() -> None:
    caller = PairingInitiator(A, "alpha", NONCE_A, B, b"hello", lambda flight: flight.upper())
    first = parse(serialise(caller.start()))
    assert isinstance(first, Pair)
    assert first.hello == b"hello"
    assert caller.received(Challenge(b"prove it")) == Proof(b"PROVE IT")
    with pytest.raises(PairingFailed, match="out of turn"):
        caller.received(Challenge(b"prove it"))
    assert isinstance(caller.received(PairingAnswer(NONCE_B, "beta")), Reveal)


def test_the_first_word_of_earlier_versions_has_no_proof() -> None:
    found = json.loads(serialise(Pair(A, "alpha", b"c" * 32, b"hello")))
    del found["hello"]
    assert parse(json.dumps(found).encode()) == Pair(A, "alpha", b"c" * 32)


def test_no_code_no_confirmation() -> None:
    caller = PairingInitiator(A, "alpha", NONCE_A, B)
    with pytest.raises(PairingFailed, match="no code"):
        caller.confirm()
    with pytest.raises(PairingFailed, match="out of turn") as failure:
        caller.received(Confirm())
    assert failure.value.broken


def test_a_no_ends_it() -> None:
    caller, _ = exchange()
    caller.confirm()
    with pytest.raises(PairingFailed, match="differ") as failure:
        caller.received(Reject(REJECTED))
    assert failure.value.reason == REJECTED
    assert not failure.value.broken
    with pytest.raises(PairingFailed, match="ended it"):
        PairingResponder(B, "beta", NONCE_B).received(Reject("something new"))
    with pytest.raises(PairingFailed, match="too many"):
        PairingResponder(B, "beta", NONCE_B).received(Reject(BUSY))


def test_nobody_can_choose_a_nonce_after_seeing_the_other() -> None:
    caller, called = PairingInitiator(A, "alpha", NONCE_A, B), PairingResponder(B, "beta", NONCE_B)
    called.received(caller.start())
    with pytest.raises(PairingFailed, match="nonce") as failure:
        called.received(Reveal(b"c" * 32))
    assert failure.value.broken
    assert not called.code


def test_somebody_between_the_two_makes_the_codes_differ() -> None:
    """It has other certificates, whatever it does with the nonces."""
    between = b"certificate of m"
    caller, called = PairingInitiator(A, "alpha", NONCE_A, between), PairingResponder(B, "beta", NONCE_B)
    start = caller.start()
    assert isinstance(start, Pair)
    forged = replace(start, certificate=between, commitment=commitment(NONCE_A, between, B))
    answer = called.received(forged)
    assert answer is not None
    reveal = caller.received(answer)
    assert reveal is not None
    called.received(reveal)
    assert caller.code != called.code


@pytest.mark.parametrize(
    "messages",
    [
        [Reveal(NONCE_A)], [PairingAnswer(NONCE_A, "x")], [Introduce(A)],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Pair(A, "x", NONCE_A)],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Confirm()],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Reveal(NONCE_A), Reveal(NONCE_A)],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Reveal(NONCE_A), Confirm(), Confirm()],
    ],
)  # fmt: skip
def test_the_called_side_takes_nothing_out_of_turn(messages: list[PairingMessage]) -> None:
    called = PairingResponder(B, "beta", NONCE_B)
    for message in messages[:-1]:
        called.received(message)
    with pytest.raises(PairingFailed, match="out of turn"):
        called.received(messages[-1])


def test_the_caller_takes_one_answer() -> None:
    caller = PairingInitiator(A, "alpha", NONCE_A, B)
    caller.received(PairingAnswer(NONCE_B, "beta"))
    with pytest.raises(PairingFailed, match="out of turn"):
        caller.received(PairingAnswer(NONCE_B, "beta"))


def test_a_nonce_has_its_length() -> None:
    with pytest.raises(ValueError, match="32"):
        PairingResponder(B, "beta", b"short")


def test_codes_are_spread_over_all_numbers() -> None:
    codes = {verification_code(number.to_bytes(32, "big"), NONCE_B, A, B) for number in range(500)}
    assert len(codes) > 490


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"{}", b"1", b'{"kind":1}', b'{"kind":"hello"}', b'{"kind":"reveal"}', b"\xff",
        b'{"kind":"reveal","nonce":"AA=="}', b'{"kind":"reveal","nonce":"!"}', b'{"kind":"reveal","nonce":7}',
        b'{"kind":"introduce","certificate":""}', b"[" * 100_000, b'{"kind":["reveal"]}',
        b'{"kind":"reject","reason":"\\ud800"}', b'{"kind":"reject","reason":"\\u0000"}',
        json.dumps({"kind": "reject", "reason": "x" * 256}).encode(),
        json.dumps({"kind": "introduce", "certificate": base64.b64encode(b"x" * 4097).decode()}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadValue):
        parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        message = parse(data)
    except BadValue:
        return
    assert parse(serialise(message)) == message


_text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=255)
_nonce = st.binary(min_size=32, max_size=32)


@given(
    st.one_of(
        st.builds(Pair, st.binary(min_size=1, max_size=4096), _text, _nonce),
        st.builds(PairingAnswer, _nonce, _text),
        st.builds(Reveal, _nonce),
        st.builds(Reject, _text),
        st.builds(Introduce, st.binary(min_size=1, max_size=4096)),
        st.just(Confirm()),
    )
)
def test_messages_survive_the_wire(message: PairingMessage) -> None:
    assert parse(serialise(message)) == message
