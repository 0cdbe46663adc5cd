# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.pairing import Called, Caller, PairingFailed, commitment, verification_code
from missiond.core.pairing_messages import (
    BUSY,
    REJECTED,
    Answer,
    BadPairingMessage,
    Confirm,
    Introduce,
    Pair,
    PairingMessage,
    Reject,
    Reveal,
    parse,
    serialise,
)

A, B = b"certificate of a", b"certificate of b"
NONCE_A, NONCE_B = b"a" * 32, b"b" * 32


def exchange() -> tuple[Caller, Called]:
    """Both sides once they have the code, every message having gone over the wire."""
    caller, called = Caller(A, "alpha", NONCE_A, B), Called(B, "beta", NONCE_B)
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


def test_no_code_no_confirmation() -> None:
    caller = Caller(A, "alpha", NONCE_A, B)
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
        Called(B, "beta", NONCE_B).received(Reject("something new"))
    with pytest.raises(PairingFailed, match="too many"):
        Called(B, "beta", NONCE_B).received(Reject(BUSY))


def test_nobody_can_choose_a_nonce_after_seeing_the_other() -> None:
    caller, called = Caller(A, "alpha", NONCE_A, B), Called(B, "beta", NONCE_B)
    called.received(caller.start())
    with pytest.raises(PairingFailed, match="nonce") as failure:
        called.received(Reveal(b"c" * 32))
    assert failure.value.broken
    assert not called.code


def test_somebody_between_the_two_makes_the_codes_differ() -> None:
    """It has other certificates, whatever it does with the nonces."""
    between = b"certificate of m"
    caller, called = Caller(A, "alpha", NONCE_A, between), Called(B, "beta", NONCE_B)
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
        [Reveal(NONCE_A)], [Answer(NONCE_A, "x")], [Introduce(A)],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Pair(A, "x", NONCE_A)],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Confirm()],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Reveal(NONCE_A), Reveal(NONCE_A)],
        [Pair(A, "x", commitment(NONCE_A, A, B)), Reveal(NONCE_A), Confirm(), Confirm()],
    ],
)  # fmt: skip
def test_the_called_side_takes_nothing_out_of_turn(messages: list[PairingMessage]) -> None:
    called = Called(B, "beta", NONCE_B)
    for message in messages[:-1]:
        called.received(message)
    with pytest.raises(PairingFailed, match="out of turn"):
        called.received(messages[-1])


def test_the_caller_takes_one_answer() -> None:
    caller = Caller(A, "alpha", NONCE_A, B)
    caller.received(Answer(NONCE_B, "beta"))
    with pytest.raises(PairingFailed, match="out of turn"):
        caller.received(Answer(NONCE_B, "beta"))


def test_a_nonce_has_its_length() -> None:
    with pytest.raises(ValueError, match="32"):
        Called(B, "beta", b"short")


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
    with pytest.raises(BadPairingMessage):
        parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        message = parse(data)
    except BadPairingMessage:
        return
    assert parse(serialise(message)) == message


_text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=255)
_nonce = st.binary(min_size=32, max_size=32)


@given(
    st.one_of(
        st.builds(Pair, st.binary(min_size=1, max_size=4096), _text, _nonce),
        st.builds(Answer, _nonce, _text),
        st.builds(Reveal, _nonce),
        st.builds(Reject, _text),
        st.builds(Introduce, st.binary(min_size=1, max_size=4096)),
        st.just(Confirm()),
    )
)
def test_messages_survive_the_wire(message: PairingMessage) -> None:
    assert parse(serialise(message)) == message
