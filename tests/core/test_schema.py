# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Annotated, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.schema import (
    U32,
    BadValue,
    Base64,
    Checked,
    Form,
    Later,
    Length,
    Range,
    Through,
    Unwritten,
    Words,
    check_of,
    decode,
    dump,
    load,
)


class Place(NamedTuple):
    inode: Annotated[int, Range(0, U32)]
    path: str


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Reason(IntEnum):
    LOW = 32


@dataclass(frozen=True, slots=True)
class Inner:
    uid: Annotated[int, Range(0, U32)]
    name: Annotated[str, Length(8)] = ""


@dataclass(slots=True)
class Everything:
    id: Unwritten[int]
    inner: Inner
    flag: bool
    size: int
    share: float
    word: Annotated[str, Words(("a", "b"))]
    key: Annotated[str, Form("[0-9a-f]{4}", "four digits")]
    place: Place | None
    pair: tuple[int, str]
    names: Annotated[tuple[str, ...], Length(3)]
    colour: Colour
    reasons: tuple[Reason, ...]
    certificate: Annotated[bytes, Base64(1, 8)]
    parameter: Annotated[bytes, Through(bytes.fromhex, bytes.hex)]
    users: Mapping[str, Annotated[int, Range(0, 9)]]
    keys: frozenset[tuple[int, int]]
    anything: Any
    note: Later[str] = "none"
    rest: Later[list[Inner]] = field(default_factory=list)


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=8)
U = st.integers(0, U32)
I64 = st.integers(-(2**63), 2**63 - 1)
INNER = st.builds(Inner, U, TEXT)
EVERYTHING = st.builds(
    Everything,
    st.just(7),
    INNER,
    st.booleans(),
    I64,
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "b"]),
    st.from_regex("[0-9a-f]{4}", fullmatch=True),
    st.none() | st.builds(Place, U, TEXT),
    st.tuples(I64, TEXT),
    st.lists(TEXT, max_size=3).map(tuple),
    st.sampled_from(Colour),
    st.lists(st.sampled_from(Reason), max_size=2).map(tuple),
    st.binary(min_size=1, max_size=8),
    st.binary(max_size=8),
    st.dictionaries(TEXT, st.integers(0, 9), max_size=3),
    st.frozensets(st.tuples(I64, I64), max_size=3),
    st.none() | st.lists(st.integers(), max_size=2),
    TEXT,
    st.lists(INNER, max_size=2),
)
WHOLE = Everything(
    7, Inner(1, "x"), True, 2, 1.5, "a", "00ff", Place(3, "/"), (4, "y"), ("z",), Colour.RED, (Reason.LOW,),
    b"\1\2", b"\3", {"u": 5}, frozenset({(6, 7)}), None, "n", [Inner(8)],
)  # fmt: skip


@given(EVERYTHING)
def test_what_is_dumped_is_loaded(value: Everything) -> None:
    written = dump(value)
    assert load(Everything, json.loads(json.dumps(written)), id=7) == value
    assert load(Everything, written, exact=True, id=7) == value


def test_the_json_is_plain() -> None:
    assert dump(WHOLE) == {
        "inner": {"uid": 1, "name": "x"},
        "flag": True,
        "size": 2,
        "share": 1.5,
        "word": "a",
        "key": "00ff",
        "place": [3, "/"],
        "pair": [4, "y"],
        "names": ["z"],
        "colour": "red",
        "reasons": [32],
        "certificate": "AQI=",
        "parameter": "03",
        "users": {"u": 5},
        "keys": [[6, 7]],
        "anything": None,
        "note": "n",
        "rest": [{"uid": 8, "name": ""}],
    }


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("inner", [], "inner: not an object"),
        ("inner", {"uid": -1, "name": ""}, "inner: uid: not a whole number from 0 to 4294967295"),
        ("inner", {"uid": U32 + 1, "name": ""}, "inner: uid: not a whole number from 0 to 4294967295"),
        ("inner", {"uid": 1}, "inner: no name"),
        ("inner", {"uid": 1, "name": "123456789"}, "inner: name: not a string of at most 8 characters"),
        ("inner", {"uid": True, "name": ""}, "inner: uid: not a whole number from 0 to 4294967295"),
        ("inner", {"uid": 1.0, "name": ""}, "inner: uid: not a whole number from 0 to 4294967295"),
        ("flag", 1, "flag: neither true nor false"),
        ("size", 2**63, "size: not a whole number from -9223372036854775808 to 9223372036854775807"),
        ("share", True, "share: not a number"),
        ("share", 10**400, "share: a number without end"),
        ("word", "c", "word: none of a, b"),
        ("word", ["a"], "word: none of a, b"),
        ("key", "00fg", "key: not four digits"),
        ("key", "00ff\n", "key: not four digits"),
        ("key", "٠٠٠٠", "key: not four digits"),
        ("place", [1], "place: not a list of 2"),
        ("place", [-1, ""], "place: not a whole number from 0 to 4294967295"),
        ("names", ["a"] * 4, "names: not a list of at most 3"),
        ("names", ["\0"], "names: not valid text"),
        ("names", ["\ud800"], "names: not valid text"),
        ("names", "abc", "names: not a list of at most 3"),
        ("colour", "blue", "colour: none of red, green"),
        ("colour", [], "colour: none of red, green"),
        ("reasons", [True], "reasons: none of 32"),
        ("certificate", "", "certificate: of a wrong length"),
        ("certificate", "x", "certificate: not base64"),
        ("certificate", 7, "certificate: not text"),
        ("users", {"u": 10}, "users: not a whole number from 0 to 9"),
        ("users", {"\ud800": 1}, "users: not valid text"),
        ("users", [], "users: not an object of at most 1048576 members"),
        ("keys", [[1]], "keys: not a list of 2"),
        ("note", None, "note: not a string of at most 1048576 characters"),
    ],
)
def test_what_is_not_of_the_schema_is_refused_and_not_repeated(name: str, value: object, why: str) -> None:
    with pytest.raises(BadValue) as caught:
        load(Everything, dump(WHOLE) | {name: value}, id=7)
    assert str(caught.value) == why


@pytest.mark.parametrize("value", [None, 1, "x", [], True])
def test_only_objects_are_dataclasses(value: object) -> None:
    with pytest.raises(BadValue, match="not an object"):
        load(Inner, value)


def test_only_what_is_later_may_be_missing() -> None:
    written = dump(WHOLE)
    for name in written:
        rest = {key: value for key, value in written.items() if key != name}
        if name in {"note", "rest"}:
            assert load(Everything, rest, id=7) != WHOLE
        else:
            with pytest.raises(BadValue, match=f"^no {name}$"):
                load(Everything, rest, id=7)


def test_a_default_is_not_shared() -> None:
    rest = {key: value for key, value in dump(WHOLE).items() if key != "rest"}
    assert load(Everything, rest, id=1).rest is not load(Everything, rest, id=1).rest


def test_unknown_members_are_ignored_or_refused() -> None:
    assert load(Inner, {"uid": 1, "name": "", "new": 1}) == Inner(1)
    with pytest.raises(BadValue, match="unknown members"):
        load(Inner, {"uid": 1, "name": "", "new": 1}, exact=True)


def test_single_values_have_checks() -> None:
    def even(value: int) -> int:
        if value % 2:
            raise BadValue("odd")
        return value

    check = check_of(Annotated[int, Range(0, 9), Checked(even)])
    assert check(4) == 4
    for wrong in (3, 10):
        with pytest.raises(BadValue):
            check(wrong)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"NaN", b"[Infinity]", b"[" * 100_000, b"9" * 5000, "x"]
)
def test_what_is_no_json_is_said(data: bytes | str) -> None:
    with pytest.raises(BadValue):
        decode(data)
    assert decode(b'{"a":1}') == decode('{"a":1}') == {"a": 1}
