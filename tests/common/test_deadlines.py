# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from missiond.common.deadlines import Deadlines


@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 100)))), st.integers(0, 100))
def test_like_a_dictionary(steps: list[tuple[int, int | None]], now: int) -> None:
    deadlines = Deadlines[int]()
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


def test_deadlines_that_move_do_not_pile_up() -> None:
    deadlines = Deadlines[str]()
    deadlines.set("first", 5)
    for when in range(10_000):
        deadlines.set("moves", 10 + when)
    assert len(deadlines._heap) < 100
    assert deadlines.pop_due(10**6) == ["first", "moves"]


def test_equal_moments_come_in_the_order_in_which_they_were_set() -> None:
    deadlines = Deadlines[object]()
    keys = [object(), "b", "a"]
    for key in keys:
        deadlines.set(key, 7)
    assert all(key in deadlines for key in keys)
    assert deadlines.pop_due(7) == keys
    assert not any(key in deadlines for key in keys)
