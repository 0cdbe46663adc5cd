# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.core.link.message_types import Update
from missiond.core.link.messages import serialise
from missiond.core.link.rows import encode
from missiond.core.sync.publisher import split
from standins.worlds.sync_host import mission

UPDATE = Update(2**32 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1, full=False, rows=(), removed=())


@settings(deadline=None)
@given(st.lists(st.integers(1, 300), max_size=60), st.integers(0, 400), st.integers(1000, 4000))
def test_parts_are_short_and_make_up_the_whole(labels: list[int], removed: int, most: int) -> None:
    """Whatever its numbers are."""
    rows = tuple(encode(mission(2**32 - 1, "x" * length)) for length in labels)
    whole = dataclasses.replace(UPDATE, rows=rows, removed=(2**32 - 1,) * removed)
    parts = list(split(whole, most))
    assert all(len(serialise(part)) <= most for part in parts)
    assert sum((part.rows for part in parts), ()) == whole.rows
    assert sum((part.removed for part in parts), ()) == whole.removed
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {dataclasses.replace(part, rows=(), removed=(), more=False) for part in parts} == {UPDATE}


def test_a_row_longer_than_a_part_goes_alone() -> None:
    rows = tuple(encode(mission(number, "x" * 900)) for number in (1, 2))
    parts = list(split(dataclasses.replace(UPDATE, rows=rows), 700))
    assert [part.rows for part in parts] == [(rows[0],), (rows[1],)]


def test_nothing_is_one_part() -> None:
    assert list(split(UPDATE)) == [UPDATE]
