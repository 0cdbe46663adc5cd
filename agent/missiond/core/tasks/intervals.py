# SPDX-License-Identifier: Apache-2.0
"""Sets of time intervals, as sorted lists of disjoint (start, end) pairs."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same points in time as few disjoint intervals, by time. Empty intervals vanish."""
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if end <= start:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def fold(intervals: list[Interval], count: int, before: int) -> list[Interval]:
    """Return at most `count` disjoint intervals of the same length in all, with no part earlier.

    Across the smallest gaps an interval is moved up against the next one. Those that end after `before` stay
    as they are, so that nothing is moved to where something longer may yet cover it; there may be more
    than `count` for that.
    """
    excess = len(intervals) - count
    if excess <= 0:
        return intervals
    movable = [at for at in range(1, len(intervals)) if intervals[at][1] <= before]
    movable.sort(key=lambda at: intervals[at][0] - intervals[at - 1][1])
    closed = set(movable[:excess])
    folded: list[Interval] = []
    for at, (start, end) in enumerate(intervals):
        if at in closed:
            earlier = folded[-1]
            folded[-1] = (start - (earlier[1] - earlier[0]), end)
        else:
            folded.append((start, end))
    return folded
