# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.config.units import format_span, parse_span

_UNITS = ("us", "ms", "s", "seconds", "m", "min", "h", "hours", "d", "w", "M", "month", "y", "years")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("3min", 180_000), ("16s", 16_000), ("1h 30min", 5_400_000), ("1h30min", 5_400_000), ("500ms", 500),
        ("90", 90_000), ("0", 0), (" 2 d ", 172_800_000), ("1.5h", 5_400_000), ("0.25", 250),
        ("24h", 86_400_000), ("1w", 604_800_000), ("2 minutes 1 second", 121_000), ("1500us", 1),
        ("999µs", 0), ("1m 5", 65_000), ("0.5ms 0.5ms", 1), ("0.000000000000000001s", 0), ("900us 100us", 1),
        ("1month", 2_629_800_000), ("2M", 5_259_600_000), ("3 months", 7_889_400_000), ("1y", 31_557_600_000),
        ("1 year 1M 1w 1d", 34_878_600_000), ("1.5 years", 47_336_400_000), ("+1s", 1000), (".5h", 1_800_000),
        ("12s.5", 12_500), ("12.34 .56", 12_900), ("5 5", 10_000), ("1ms1", 1001), ("1μs", 0),
    ],
)  # fmt: skip
def test_spans_as_in_systemd_time(text: str, milliseconds: int) -> None:
    assert parse_span(text) == milliseconds


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "min", "-1s", "+", "+.5s", "+ 1s", "1+1", "12.34.56", "1..5", ".", "1mon", "1usecs",
        "1,5h", "1.h", "1e3", "0x10", "3 parsecs", "3MIN", "infinity",
        "1s;", "٣s", "9" * 19, "1s\n-", "1s\udc80", "3 min utes",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_span(text)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@given(
    st.lists(
        st.sampled_from(["1", "25", ".5", "+3", "0.75", ".", " ", "", *_UNITS, "mon", "MIN", "-"]),
        min_size=1,
        max_size=6,
    ).map("".join)
)
@settings(max_examples=40, deadline=None)
def test_spans_are_those_of_systemd(text: str) -> None:
    done = subprocess.run(
        ["systemd-analyze", "timespan", "--", text], capture_output=True, check=False, text=True
    )
    if done.returncode:
        with pytest.raises(ValueError, match="time"):
            parse_span(text)
    else:
        (microseconds,) = re.findall(r"^\s*[uμ]s: (\d+)$", done.stdout, re.MULTILINE)
        assert parse_span(text) == int(microseconds) // 1000


@given(st.integers(0, 10**15))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    assert parse_span(format_span(milliseconds)) == milliseconds


@given(st.text(max_size=30))
def test_any_text_is_a_span_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_span(text) >= 0
