# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.tasks.locks import INHIBIT, ordered, parse_inhibit, printable
from missiond.errors import InvalidParameter


@given(st.text(), st.integers(1, 50))
def test_printable_is_printable_and_short(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=50))
def test_printable_leaves_plain_text_alone(text: str) -> None:
    assert printable(text, 50) == text


def test_ordered() -> None:
    assert ordered(["shutdown", "idle", "sleep", "idle", "bogus"]) == ("sleep", "idle", "shutdown")


def test_inhibit_in_one_order_and_once() -> None:
    assert parse_inhibit([]) == ()
    assert parse_inhibit([*INHIBIT, *reversed(INHIBIT)]) == ordered(INHIBIT)


def test_inhibit_takes_no_other_word() -> None:
    with pytest.raises(InvalidParameter, match="inhibit has an unknown 'sleep'; it takes idle, shutdown"):
        parse_inhibit(["idle", "sleep"])
