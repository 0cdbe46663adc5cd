# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from missiond.core.locks import ordered, printable


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
