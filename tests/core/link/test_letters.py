# SPDX-License-Identifier: Apache-2.0
"""Messages of hand-overs as bytes, and what is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.link.checks import BadMessage
from missiond.core.link.letters import Cancel, Chunk, Got, HandoverMessage, Letter, State, Taken
from missiond.core.link.message_types import Hello
from missiond.core.link.messages import parse, serialise
from missiond.core.link.timeouts import MAX_BODY, MAX_CHUNK

T = "0123456789abcdef" * 2
ALL: list[HandoverMessage] = [
    Letter(1, T, "offer", '{"a": "é\\u0000"}'),
    State(2, T, 0, 2**63 - 1),
    Got(2**32 - 1, 0),
    Taken(1, 16300501, "it failed"),
    Taken(1),
    Cancel(7),
    Chunk(2**32 - 1, 2**62, b"\0{}"),
    Chunk(1, 0, b"x" * MAX_CHUNK),
]
LETTER = {"kind": "handover", "n": 1, "transfer": T, "step": "offer", "body": "{}"}
BAD: list[dict[str, object]] = [
    LETTER | {"n": -1},
    LETTER | {"n": 1.0},
    LETTER | {"transfer": T + "0"},
    LETTER | {"transfer": T.upper()},
    LETTER | {"transfer": None},
    LETTER | {"step": "a b"},
    LETTER | {"step": "a" * 33},
    LETTER | {"step": ["offer"]},
    LETTER | {"body": {}},
    LETTER | {"body": "[]"},
    LETTER | {"body": '"text"'},
    LETTER | {"body": "{"},
    LETTER | {"body": "[" * 100_000},
    LETTER | {"body": '{"a": Infinity}'},
    LETTER | {"body": '{"a": ' + "9" * 5000 + "}"},
    LETTER | {"body": '{"a": "\0"}'},
    LETTER | {"body": '{"a": "\ud800"}'},
    LETTER | {"body": '{"a": "' + "x" * MAX_BODY + '"}'},
    {"kind": "handover"},
    {"kind": "state", "n": 1, "transfer": T, "offset": -1, "size": 1},
    {"kind": "state", "n": 1, "transfer": T, "offset": 0, "size": 2**63},
    {"kind": "got", "n": 1, "offset": True},
    {"kind": "taken", "n": 1, "code": "0", "text": ""},
    {"kind": "taken", "n": 1, "code": 0, "text": "x" * 1025},
    {"kind": "cancel"},
    {"kind": "chunk", "n": 1, "offset": 0, "data": "x"},
]


@pytest.mark.parametrize("message", ALL, ids=lambda each: each.kind)
def test_there_and_back(message: HandoverMessage) -> None:
    assert parse(serialise(message)) == message


@pytest.mark.parametrize("found", BAD, ids=lambda each: json.dumps(each)[:60])
def test_what_is_none(found: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        parse(json.dumps(found).encode())


@pytest.mark.parametrize(
    "data", [b"\0", b"\0" * 13, b"\0" + b"\xff" * 13, b"\0" * 13 + b"x" * (MAX_CHUNK + 1)], ids=len
)
def test_what_is_no_piece(data: bytes) -> None:
    with pytest.raises(BadMessage):
        parse(data)


@given(st.binary(max_size=64))
def test_any_bytes_after_the_mark(data: bytes) -> None:
    try:
        found = parse(b"\0" + data)
    except BadMessage:
        return
    assert serialise(found) == b"\0" + data


def test_a_hello_of_an_earlier_release_has_no_features() -> None:
    said = {"kind": "hello", "versions": [1, 1], "device": "a", "name": "", "instance": "", "software": ""}
    found = parse(json.dumps(said).encode())
    assert isinstance(found, Hello)
    assert found.features == ()
    for features in ("handover", ["x"] * 33, [1], ["x" * 33]):
        with pytest.raises(BadMessage):
            parse(json.dumps(said | {"features": features}).encode())
