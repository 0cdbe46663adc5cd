# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.state.usage_lines import (
    WALL_CLOCK_SET,
    Line,
    LineError,
    Stamp,
    decode,
    encode,
    encode_mark,
    place,
)

APP = (1000, "app")
WALL = WALL_CLOCK_SET + 10**10


def usage(boot: str, start: int, end: int, now: int, wall: int) -> Line:
    return Line(Stamp(boot, now, wall), APP, start, end)


@given(
    st.text(max_size=40),
    st.integers(0, 2**32 - 1),
    st.text(max_size=255),
    st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 2**40), st.integers(0, 2**40)),
)
def test_a_line_is_read_back(boot: str, uid: int, app: str, times: tuple[int, int, int]) -> None:
    start, length, later = times
    stamp = Stamp(boot, start + length + later, WALL)
    data = encode(stamp, uid, app, start, start + length)
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert decode(data) == Line(stamp, (uid, app), start, start + length)
    assert decode(encode_mark(stamp)) == Line(stamp)


GOOD: dict[str, Any] = {
    "version": 1, "uid": 1, "app": "a", "start": 1, "end": 2, "boot": "b", "now": 3, "wall": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"version": True}, {"version": None}, {"uid": -1}, {"uid": 2**32}, {"uid": "1"},
        {"app": 1}, {"start": 3}, {"start": 1.0}, {"end": None}, {"boot": 1}, {"now": True}, {"now": 2**63},
        {"wall": "4"}, {"end": 10**400}, {"start": float("-inf")},
    ],
)  # fmt: skip
def test_impossible_lines_are_refused(change: dict[str, Any]) -> None:
    assert decode(json.dumps(GOOD).encode())
    with pytest.raises(LineError):
        decode(json.dumps({**GOOD, **change}).encode())


@given(st.binary(max_size=100))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(LineError):
        decode(data)


def test_usage_after_the_line_was_written_counts_as_just_before_it() -> None:
    line = decode(json.dumps({**GOOD, "start": 100, "end": 150, "now": 120}).encode())
    assert (line.start, line.end) == (70, 120)


def test_this_boots_lines_stay_whatever_the_wall_clock_says() -> None:
    lines = [usage("b", 10, 20, 30, WALL), usage("b", 40, 50, 60, 5), usage("b", 70, 80, 90, WALL * 2)]
    assert place(lines, Stamp("b", 100, 0)) == {APP: [(10, 20), (40, 50), (70, 80)]}


def test_another_boot_is_aged_by_the_wall_clock_as_a_whole() -> None:
    lines = [usage("a", 10, 20, 30, WALL), usage("a", 40, 50, 60, WALL + 30)]
    # 1000 ms passed since the last line, written 10 ms after its usage.
    assert place(lines, Stamp("b", 100, WALL + 1030)) == {APP: [(-950, -940), (-920, -910)]}


@pytest.mark.parametrize("wall", [WALL - 1, 0])
def test_a_wall_clock_gone_backwards_means_that_no_time_has_passed(wall: int) -> None:
    lines = [usage("a", 10, 20, 30, WALL - 1000), usage("a", 40, 50, 60, WALL)]
    assert place(lines, Stamp("b", 100, wall)) == {APP: [(50, 60), (80, 90)]}


def test_a_wall_clock_that_was_never_set_proves_nothing() -> None:
    lines = [usage("a", 10, 20, 20, 1_000_000)]
    assert place(lines, Stamp("b", 100, WALL)) == {APP: [(90, 100)]}


def test_usage_of_three_boots_with_one_wall_clock_time_does_not_fall_together() -> None:
    lines = [usage("a", 0, 50, 50, WALL), usage("b", 0, 50, 50, WALL), usage("c", 0, 50, 50, WALL)]
    placed = place(lines, Stamp("d", 100, WALL))
    assert placed == {APP: [(50, 100), (0, 50), (-50, 0)]}


def test_a_boot_clock_gone_backwards_is_treated_like_another_boot() -> None:
    lines = [usage("b", 500, 510, 510, WALL), usage("b", 900, 920, 1000, WALL + 490)]
    assert place(lines, Stamp("b", 600, WALL + 590)) == {APP: [(0, 10), (400, 420)]}


def test_a_wall_clock_set_forward_in_a_boot_between_does_not_age_the_boot_before_it() -> None:
    lines = [
        usage("a", 0, 50, 50, WALL),
        usage("b", 60, 70, 70, WALL + 20),
        usage("b", 80, 90, 90, WALL + 5000),
    ]
    assert place(lines, Stamp("c", 100, WALL + 5000)) == {APP: [(70, 80), (90, 100), (10, 60)]}
