# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest

from missiond.core.link.checks import BadMessage
from missiond.core.link.message_types import Update
from missiond.core.link.rows import encode
from missiond.core.sync.replica import Applied, Gap, Replica
from standins.worlds.sync_host import mission

DONE = Applied(done=True, changed=True)


def full(last: int, *numbers: int, list_id: int = 9, more: bool = False) -> Update:
    rows = tuple(encode(mission(number)) for number in numbers)
    return Update(1, list_id, 0, last, full=True, rows=rows, removed=(), more=more)


def delta(prev: int, last: int, *numbers: int, removed: tuple[int, ...] = (), list_id: int = 9) -> Update:
    rows = tuple(encode(mission(number, "new")) for number in numbers)
    return Update(1, list_id, prev, last, full=False, rows=rows, removed=removed)


@pytest.fixture
def view() -> Replica:
    view = Replica()
    assert view.apply(full(5, 3, 1, 2)) == DONE
    return view


def numbers(view: Replica) -> list[int]:
    return [row[0] for row in view.rows()]


def test_rows_come_by_id(view: Replica) -> None:
    assert view.rows(2) == [mission(1), mission(2)]
    assert numbers(view) == [1, 2, 3]
    assert len(view) == 3
    assert view.row(3) == mission(3)
    assert view.row(4) is None
    assert 2 in view
    assert 4 not in view


def test_changes_follow(view: Replica) -> None:
    assert view.apply(delta(5, 8, 2, 7, removed=(1, 99))) == DONE
    assert view.rows() == [mission(2, "new"), mission(3), mission(7, "new")]
    assert view.apply(delta(8, 9)) == Applied(done=True, changed=False)
    assert (view.list_id, view.seq) == (9, 9)


@pytest.mark.parametrize(
    "update",
    [
        delta(4, 6, 7),  # older than what is here
        delta(6, 7, 7),  # something between is missing
        delta(5, 6, 7, list_id=8),
        full(4, 7),
        delta(5, 4),
    ],
)
def test_what_does_not_follow_leaves_no_trace(view: Replica, update: Update) -> None:
    assert isinstance(view.apply(update), Gap)
    assert (numbers(view), view.seq, view.complete) == ([1, 2, 3], 5, True)
    assert view.apply(delta(5, 6, 7)) == DONE


def test_nothing_is_taken_twice(view: Replica) -> None:
    assert view.apply(delta(5, 6, 7)) == DONE
    assert isinstance(view.apply(delta(5, 6, 7)), Gap)


def test_changes_to_nothing_are_a_gap() -> None:
    assert isinstance(Replica().apply(delta(0, 1, 7)), Gap)


def test_a_whole_list_takes_the_place_of_another(view: Replica) -> None:
    assert view.apply(full(5, 1, 2, 3)) == Applied(done=True, changed=False)
    assert view.apply(full(1, 8, list_id=10)) == DONE
    assert (numbers(view), view.list_id, view.seq) == ([8], 10, 1)


def test_parts_show_together_or_not_at_all(view: Replica) -> None:
    assert view.apply(full(7, 4, 5, more=True)) == Applied(done=False, changed=False)
    assert numbers(view) == [1, 2, 3]
    assert view.apply(full(7, 6)) == DONE
    assert numbers(view) == [4, 5, 6]
    view.apply(dataclasses.replace(delta(7, 9, 10), more=True))
    assert view.apply(delta(7, 9, removed=(4,))) == DONE
    assert numbers(view) == [5, 6, 10]


def test_an_update_that_the_owner_gave_up_leaves_no_trace(view: Replica) -> None:
    view.apply(full(7, 4, more=True))
    assert view.apply(full(8, 5)) == DONE
    assert numbers(view) == [5]
    view.apply(full(9, 4, more=True))
    view.abandon()
    assert view.apply(full(9, 6)) == DONE
    assert numbers(view) == [6]


def test_the_first_list_is_news_even_if_empty() -> None:
    view = Replica()
    assert view.apply(full(0)) == DONE
    assert view.complete
    assert view.apply(full(0)) == Applied(done=True, changed=False)
    view.clear(5)
    assert (view.complete, view.tag, view.list_id) == (False, 5, 0)


def test_a_list_without_end_is_cut_off() -> None:
    view = Replica(max_rows=3)
    view.apply(full(5, 1, 2, more=True))
    with pytest.raises(BadMessage, match="more than 3 rows"):
        view.apply(full(5, 3, 4, more=True))
    assert not view.complete
    view.apply(full(5, 1, 2, 3))
    with pytest.raises(BadMessage):
        view.apply(delta(5, 6, 4))
    assert (len(view), view.complete) == (0, False)


def test_bytes_are_counted_too() -> None:
    size = len(encode(mission(1)))
    view = Replica(max_bytes=2 * size)
    for seq in range(1, 5):
        view.apply(full(seq, 1, 2))
    with pytest.raises(BadMessage, match="bytes"):
        view.apply(delta(4, 5, 1))


def test_removals_without_end_are_cut_off() -> None:
    view = Replica(max_rows=3)
    view.apply(full(1))
    for number in range(1, 8):
        view.apply(dataclasses.replace(delta(1, 2, removed=(number,)), more=True))
    with pytest.raises(BadMessage):
        view.apply(dataclasses.replace(delta(1, 2, removed=(8,)), more=True))


def test_empty_parts_without_end_cost_nothing(view: Replica) -> None:
    for _ in range(1000):
        view.apply(full(7, more=True))
    assert view._staged is not None
    assert not view._staged.rows
