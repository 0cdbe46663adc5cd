# SPDX-License-Identifier: Apache-2.0
"""Options are strict; variants go in and out."""

from __future__ import annotations

from typing import Any

import pytest

from missiond.bus.library import Variant
from missiond.bus.variants import parse_options, shown, unwrap, variant
from missiond.errors import InvalidParameter

ALLOWED = {"pid": "u", "delay": "u", "want": "a{sv}", "modes": "as", "odd": "(uu)"}


def test_options_become_plain_values() -> None:
    options = {"pid": Variant("u", 7), "want": Variant("a{sv}", {"x": Variant("v", Variant("s", "deep"))})}
    assert parse_options(options, ALLOWED) == {"pid": 7, "want": {"x": "deep"}}
    assert parse_options({}, ALLOWED) == {}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"Pid": Variant("u", 7)}, "401: unknown option 'Pid'; known options: delay, modes, odd, pid, want"),
        ({"pid": Variant("i", 7)}, "401: option 'pid' takes an unsigned 32-bit number (u), got type i"),
        ({"modes": Variant("s", "x")}, "401: option 'modes' takes a list of strings (as), got type s"),
        ({"odd": Variant("u", 1)}, "401: option 'odd' takes type (uu), got type u"),
        ({"a\nb" + "c" * 90: Variant("u", 1)},
         "401: unknown option 'a\\nb" + "c" * 61 + "...'; known options: delay, modes, odd, pid, want"),
    ],
)  # fmt: skip
def test_options_that_are_wrong(options: dict[str, Variant], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        parse_options(options, ALLOWED)
    assert str(caught.value) == text


def test_no_options_allowed() -> None:
    with pytest.raises(InvalidParameter, match="known options: none"):
        parse_options({"x": Variant("u", 1)}, {})


@pytest.mark.parametrize(
    ("signature", "value"),
    [("a(us)", [(1, "a")]), ("as", ("a", "b")), ("s", "é"), ("a{sv}", {"x": Variant("u", 1)})],
)
def test_variant_takes_tuples(signature: str, value: Any) -> None:
    made = variant(signature, value)
    assert made.signature == signature
    assert "(" not in repr(unwrap(made))


def test_variant_checks() -> None:
    with pytest.raises(TypeError):
        variant("u", "x")


def test_shown() -> None:
    assert shown("plain é") == "plain é"
    assert shown("\x1b[2J") == "\\x1b[2J"
