# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from missiond.core.tasks.intervals import Interval, fold, union

POINTS = st.integers(-50, 50)
INTERVALS = st.lists(st.tuples(POINTS, POINTS).map(lambda pair: (min(pair), max(pair))), max_size=20)


def covered(intervals: list[Interval]) -> set[int]:
    return {point for start, end in intervals for point in range(start, end)}


@given(INTERVALS)
def test_union_covers_the_same_and_is_disjoint_and_sorted(intervals: list[Interval]) -> None:
    merged = union(intervals)
    assert covered(merged) == covered(intervals)
    assert all(start < end for start, end in merged)
    assert all(before[1] < after[0] for before, after in pairwise(merged))
    assert union(merged) == merged == union(intervals + merged)


def _length_since(intervals: list[Interval], since: int) -> int:
    return sum(max(0, end - max(start, since)) for start, end in intervals)


@given(INTERVALS, st.integers(1, 5), POINTS)
def test_folding_keeps_the_length_and_makes_nothing_earlier(
    intervals: list[Interval], count: int, before: int
) -> None:
    merged = union(intervals)
    fewer = fold(merged, count, before)
    assert all(one[1] <= other[0] for one, other in pairwise(fewer))
    for since in range(-51, 52):
        assert _length_since(fewer, since) >= _length_since(merged, since)
    assert _length_since(fewer, -51) == _length_since(merged, -51)
    assert [pair for pair in merged if pair[1] > before] == [pair for pair in fewer if pair[1] > before]


@given(INTERVALS, st.integers(1, 5))
def test_folding_reaches_the_count(intervals: list[Interval], count: int) -> None:
    merged = union(intervals)
    assert len(fold(merged, count, 51)) == min(count, len(merged))


def test_the_smallest_gaps_are_closed_first() -> None:
    assert fold([(0, 1), (5, 6), (7, 8), (20, 21)], 3, 100) == [(0, 1), (6, 8), (20, 21)]
