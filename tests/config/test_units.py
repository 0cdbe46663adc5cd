# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.config.units import format_span, parse_span


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("3min", 180_000), ("16s", 16_000), ("1h 30min", 5_400_000), ("1h30min", 5_400_000), ("500ms", 500),
        ("90", 90_000), ("0", 0), (" 2 d ", 172_800_000), ("1.5h", 5_400_000), ("0.25", 250),
        ("24h", 86_400_000), ("1w", 604_800_000), ("2 minutes 1 second", 121_000), ("1500us", 1),
        ("999µs", 0), ("1m 5", 65_000), ("0.5ms 0.5ms", 1), ("0.000000000000000001s", 0), ("900us 100us", 1),
    ],
)  # fmt: skip
def test_spans_as_in_systemd_time(text: str, milliseconds: int) -> None:
    assert parse_span(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "min", "-1s", "+1", "1,5h", "1.h", ".5h", "1e3", "0x10", "3 parsecs", "3MIN", "infinity",
        "1s;", "٣s", "9" * 19, "1s\n-", "1s\udc80", "3 min utes",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_span(text)


@given(st.integers(0, 10**15))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_span(format_span(milliseconds)) == milliseconds


@given(st.text(max_size=30))
def test_any_text_is_a_span_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_span(text) >= 0
