# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from missiond.core.link import rows
from missiond.core.link.checks import BadMessage
from missiond.core.link.letters import Chunk
from missiond.core.link.message_types import (
    Accepted,
    AgentBack,
    Ask,
    Bye,
    DetailsAnswer,
    Hello,
    Ignored,
    LinkRefused,
    Message,
    Ping,
    Pong,
    Renamed,
    Resync,
    SnapshotsMessage,
    Subscribe,
    Unsubscribe,
    Update,
    WatchMission,
)
from missiond.core.link.messages import parse, serialise
from standins.examples import examples
from standins.worlds.sync_host import device, mission

ROW = rows.encode(mission(1))
U32 = st.integers(0, 2**32 - 1)
I63 = st.integers(0, 2**63 - 1)
ID = st.integers(1, 2**32 - 1)
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40)
ROWS = st.lists(
    st.builds(lambda number, label: rows.encode(mission(number, label)), ID, TEXT), max_size=3
).map(tuple)
IDS = st.lists(ID, max_size=3).map(tuple)
VERSIONS = st.tuples(st.integers(1, 9), st.integers(9, 99))
VALUES = st.dictionaries(
    TEXT,
    st.one_of(
        st.tuples(st.just("s"), TEXT),
        st.tuples(st.just("u"), U32),
        st.tuples(st.just("b"), st.booleans()),
        st.tuples(st.just("d"), st.floats(allow_nan=False, allow_infinity=False)),
        st.tuples(st.just("as"), st.lists(TEXT, max_size=3)),
        st.tuples(st.just("a{sv}"), st.dictionaries(TEXT, st.tuples(st.just("x"), st.integers(-9, 9)))),
    ),
    max_size=4,
)
ANY_MESSAGE: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, VERSIONS, TEXT, TEXT, TEXT, TEXT),
    st.builds(Accepted, st.integers(1, 99)),
    st.builds(LinkRefused, TEXT, U32),
    st.builds(Subscribe, U32, st.integers(-9, 9), st.booleans(), I63, I63, st.booleans()),
    st.just(Unsubscribe()),
    st.builds(Update, U32, st.integers(1, 2**63 - 1), I63, I63, st.booleans(), ROWS, IDS, st.booleans()),
    st.builds(Resync, U32),
    st.builds(WatchMission, st.booleans()),
    st.builds(Ping, U32),
    st.builds(Pong, U32),
    st.builds(Ask, U32, st.sampled_from(["info", "snapshot"]), ID),
    st.builds(DetailsAnswer, U32, st.one_of(st.none(), VALUES), st.integers(0, 999), TEXT),
    st.builds(SnapshotsMessage, IDS),
    st.builds(Renamed, TEXT),
    st.just(AgentBack()),
    st.builds(Bye, TEXT),
)


@settings(deadline=None)
@given(ANY_MESSAGE)
def test_what_is_said_is_heard(message: Message) -> None:
    assert parse(serialise(message)) == message


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(bytes(14))
def test_any_bytes_are_a_message_or_bad(data: bytes) -> None:
    try:
        found = parse(data)
    except BadMessage:
        return
    # behind the head of a piece of a state there may be anything
    assert isinstance(found, Chunk)
    assert (data[0], serialise(found)) == (0, data)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=12), st.dictionaries(st.text(max_size=3), inner)),
    max_leaves=6,
)


@settings(deadline=None, max_examples=examples(60))
@given(ANY_MESSAGE, st.data())
def test_any_value_in_any_field_is_taken_or_bad(message: Message, data: st.DataObject) -> None:
    said = json.loads(serialise(message))
    field = data.draw(st.sampled_from(sorted(said)))
    said[field] = data.draw(JSON)
    try:
        again = parse(json.dumps(said).encode())
    except BadMessage:
        return
    if again != Ignored():  # of another kind, and optional
        assert parse(serialise(again)) == again


def said(kind: str, **fields: Any) -> bytes:
    return json.dumps({"kind": kind, **fields}).encode()


UPDATE = json.loads(serialise(Update(1, 5, 0, 1, full=False, rows=(), removed=())))


def update(**fields: Any) -> bytes:
    return said(**{**UPDATE, **fields})


def a_row(**fields: Any) -> list[Any]:
    row = json.loads(ROW)
    for place, value in fields.items():
        row[int(place[1:])] = value
    return list(row)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b'{"kind":["ping"],"n":1}',
        b"[" * 100_000,
        b'{"kind":"ping","n":' + b"[" * 100_000,
        b'{"kind":"answer","value":' + b'{"a":' * 100_000,
        b'{"kind":"ping","n":1}x',
        b'{"kind":"ping","n":' + b"9" * 5000 + b"}",
        b'{"kind":"ping","n":NaN}',
        b'{"kind":"ping","n":Infinity}',
        said("ping"),
        said("ping", n=1.0),
        said("ping", n=True),
        said("ping", n="1"),
        said("ping", n=-1),
        said("ping", n=2**32),
        said("bye", reason="x" * 1025),
        said("bye", reason=None),
        b'{"kind":"bye","reason":"\\ud800"}',
        b'{"kind":"bye","reason":"\\u0000"}',
        said("accepted", version=0),
        said("ask", n=1, what="everything", mission=1),
        said("ask", n=1, what="info", mission=0),
        said("snapshots", missions=[1] * 10_001),
        said("snapshots", missions=[0]),
        said("hello", versions=[2, 1], device="", name="", instance="", software=""),
        said("hello", versions=[1], device="", name="", instance="", software=""),
        said("hello", versions=[1, 1], device="", name="x" * 256, instance="", software=""),
        said("renamed", name="x" * 256),
        said("renamed", name=7, optional=True),
        said("new", n=1),
        said("new", n=1, optional="yes"),
        update(list_id=0),
        update(last_seq=2**63),
        update(rows={}),
        update(removed=[1.5]),
        update(rows=[[1]]),
        update(rows=[a_row(f0=0)]),
        update(rows=[a_row(f0=2**32)]),
        update(rows=[a_row(f1=None)]),
        update(rows=[a_row(f1="x" * 1025)]),
        update(rows=[a_row(f7=1)]),
        update(rows=[a_row(f9=2**31)]),
        update(rows=[a_row(f10=-1)]),
        update(rows=[a_row(f10=1.5)]),
        update(rows=[[*a_row(), 1]]),
    ],
)  # fmt: skip
def test_bad(data: bytes) -> None:
    with pytest.raises(BadMessage) as found:
        parse(data)
    assert len(str(found.value)) < 200


@pytest.mark.parametrize(
    "value",
    [
        5,
        {"a": 1},
        {"a": ["s"]},
        {"a": ["v", 1]},
        {"a": ["u", -1]},
        {"a": ["s", 1]},
        {"a": ["d", 10**400]},
        {"a": ["as", ["x", 1]]},
        {"a": ["a{sv}", {"b": ["a{sv}", {"c": ["a{sv}", {"d": ["a{sv}", {"e": ["s", ""]}]}]}]}]},
        {str(n): ["u", n] for n in range(257)},
    ],
)
def test_bad_details(value: Any) -> None:
    with pytest.raises(BadMessage):
        parse(said("answer", n=1, value=value, code=0, text=""))


def test_an_unknown_kind_may_say_that_it_can_be_ignored() -> None:
    assert parse(said("new", n=1, optional=True)) == Ignored()


def test_what_is_of_a_kind_that_earlier_releases_ignore() -> None:
    assert json.loads(serialise(Renamed("desk"))) == {"kind": "renamed", "name": "desk", "optional": True}
    assert json.loads(serialise(AgentBack())) == {"kind": "agent-back", "optional": True}


def test_unknown_fields_are_ignored() -> None:
    assert parse(said("ping", n=1, new=[1])) == Ping(1)


def test_what_is_no_number_is_never_said() -> None:
    with pytest.raises(ValueError, match="JSON"):
        serialise(DetailsAnswer(1, {"cpu": ("d", math.nan)}))


def test_a_row_keeps_within_its_limits() -> None:
    row = rows.decode(rows.encode(mission(7, "ä" * 5000, tag=-3)))
    assert (row[0], row[1], row[9]) == (7, "ä" * rows.MAX_TEXT, -3)
    assert rows.accept(list(row)) == rows.encode(row)
    assert rows.mission_of(rows.encode(row)) == 7


def test_a_hello_is_what_this_version_says() -> None:
    """Other versions have to understand it, so it stays as it is."""
    hello = Hello((1, 1), device("a"), "host", "instance", "missiond 1")
    assert json.loads(serialise(hello)) == {
        "kind": "hello",
        "versions": [1, 1],
        "device": device("a"),
        "name": "host",
        "instance": "instance",
        "software": "missiond 1",
        "features": [],
    }
