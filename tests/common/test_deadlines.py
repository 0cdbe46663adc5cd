# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from missiond.common.deadlines import Deadlines


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 100)))), st.integers(0, 100))
def test_like_a_dictionary(steps: list[tuple[int, int | None]], now: int) -> None:
    deadlines = Deadlines()
    model: dict[int, int] = {}
    for key, when in steps:
        if when is None:
            deadlines.drop(key)
            model.pop(key, None)
        else:
            deadlines.set(key, when)
            model[key] = when
        assert deadlines.next() == min(model.values(), default=None)
    due = deadlines.pop_due(now)
    assert sorted(due) == sorted(key for key, when in model.items() if when <= now)
    assert [model[key] for key in due] == sorted(model[key] for key in due)
    assert deadlines.next() == min((when for when in model.values() if when > now), default=None)
