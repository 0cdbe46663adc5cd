# SPDX-License-Identifier: Apache-2.0
"""What we encode, the library decodes; what does not fit is refused before it is sent."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.bus.library import Variant
from missiond.bus.variants import unwrap
from missiond.bus.wire import message
from missiond.bus.wire.encode import EncodeError, Typed, encode
from missiond.bus.wire.signature import SignatureError, split
from standins.examples import examples

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
LEAVES = st.one_of(
    st.tuples(st.just("s"), TEXT),
    st.tuples(st.just("y"), st.integers(0, 255)),
    st.tuples(st.just("b"), st.booleans()),
    st.tuples(st.just("n"), st.integers(-(2**15), 2**15 - 1)),
    st.tuples(st.just("q"), st.integers(0, 2**16 - 1)),
    st.tuples(st.just("i"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("u"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("x"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("t"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("d"), st.floats(allow_nan=False)),
    st.tuples(st.just("o"), st.sampled_from(["/", "/a", "/a_1/B2"])),
    st.tuples(st.just("g"), st.sampled_from(["", "s", "a{sv}(uu)"])),
    st.tuples(st.just("ay"), st.binary(max_size=20)),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(
            lambda pairs: (f"({''.join(pair[0] for pair in pairs)})", [pair[1] for pair in pairs])
        ),
        st.tuples(inner, st.integers(0, 3)).map(
            lambda drawn: (f"a{drawn[0][0]}", [drawn[0][1]] * drawn[1]) if drawn[0][0] != "y" else drawn[0]
        ),
        st.tuples(TEXT, inner).map(lambda drawn: (f"a{{s{drawn[1][0]}}}", {drawn[0]: drawn[1][1]})),
        inner.map(lambda pair: ("v", Typed(*pair))),
    )


def decode(signature: str, body: bytes | bytearray) -> list[Any]:
    frame = message.build(message.RETURN, 1, reply_serial=1, signature=signature, body=body)
    return message.Incoming(frame, *message.lengths(frame)).body


def plain(value: Any) -> Any:
    if isinstance(value, Typed):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(member) for member in value]
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    return value


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.recursive(LEAVES, containers, max_leaves=6), max_size=4))
def test_round_trip_through_the_library(pairs: list[tuple[str, Any]]) -> None:
    signature = "".join(pair[0] for pair in pairs)
    if len(signature) > 255:
        return
    body = [pair[1] for pair in pairs]
    assert unwrap(decode(signature, encode(signature, body))) == plain(body)


def test_text_beyond_ascii_has_its_length_in_bytes() -> None:
    assert encode("s", ["é€"]) == b"\5\0\0\0\xc3\xa9\xe2\x82\xac\0"
    assert encode("v", [Variant("s", "é")]) == b"\1s\0\0\2\0\0\0\xc3\xa9\0"


def test_tuples_and_enums_are_taken() -> None:
    class Number(IntEnum):
        ONE = 1

    assert encode("a(us)", [((Number.ONE, "a"),)]) == encode("a(us)", [[[1, "a"]]])


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("u", [-1]), ("u", [2**32]), ("u", ["1"]), ("u", [True]), ("u", [None]), ("y", [256]), ("b", [1]),
        ("d", ["x"]), ("d", [10**400]), ("s", [b"x"]), ("s", ["a\0b"]), ("s", ["\ud800"]),
        ("o", ["a"]), ("o", ["/a/"]),
        ("g", ["zz"]), ("g", [3]), ("as", ["text"]), ("ay", ["text"]), ("ay", [[1]]), ("a{sv}", [[("a", 1)]]),
        ("a{sv}", [{"a": 1}]), ("v", ["x"]), ("v", [Typed("us", 1)]), ("v", [Typed("?", 1)]), ("(us)", [[1]]),
        ("(us)", ["ab"]), ("us", [1]), ("", [1]), ("a", [[]]), ("aas", [[["a"], "b"]]),
    ],
)  # fmt: skip
def test_what_does_not_fit(signature: str, body: list[Any]) -> None:
    with pytest.raises(EncodeError):
        encode(signature, body)


def test_message_beyond_the_limit_of_the_bus() -> None:
    with pytest.raises(message.MessageTooLarge):
        message.build(message.RETURN, 1, reply_serial=1, signature="ay", body=bytes(message.MAX_OUTGOING))


@pytest.mark.parametrize(
    "bad", ["(", "a", "a{s", "a{vs}", "a{}", "{ss}", "()", "a{sss}", "z", ")", "a" * 34 + "s", "s" * 256]
)
def test_bad_signatures(bad: str) -> None:
    with pytest.raises(SignatureError):
        split(bad)


def test_good_signatures() -> None:
    assert split("sa{sv}(u(as)v)aay") == ("s", "a{sv}", "(u(as)v)", "aay")
    assert split("") == ()


def test_frames_that_are_no_message() -> None:
    for bad in (b"x\1\0\1" + bytes(12), b"l\1\0\2" + bytes(12)):
        with pytest.raises(message.WireError):
            message.lengths(bad)
    frame = b"l\1\0\1" + struct.pack("<III", 0, 1, 16) + b"\1\1s\0\xff\0\0\0" + bytes(8)
    with pytest.raises(message.WireError):
        message.Incoming(frame[:20], 32, 0)
