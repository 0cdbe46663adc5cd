# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from missiond.core.protection import Change, Protections, Seen

OWNER = Seen(10, 100, 0)


def test_lowered_and_given_back() -> None:
    table = Protections()
    table.begin(1, 500)
    assert table.cover(1, [OWNER, Seen(11, 101, 200)], -300) == [
        Change(10, 100, 0, -300),
        Change(11, 101, 200, -100),
    ]
    assert table.cover(1, [Seen(10, 100, -300)], -300) == []
    child = Seen(12, 600, -100)
    assert sorted(table.end(1, [child]), key=lambda change: change.pid) == [
        Change(10, 100, -300, 0),
        Change(11, 101, -100, 200),
        Change(12, 600, -100, 200),
    ]
    assert len(table) == 0


def test_a_process_from_before_the_task_did_not_inherit() -> None:
    table = Protections()
    table.begin(1, 500)
    table.cover(1, [OWNER], -300)
    assert table.end(1, [Seen(12, 400, -300)]) == [Change(10, 100, -300, 0)]


def test_the_last_task_gives_back() -> None:
    table = Protections()
    for task in (1, 2):
        table.begin(task, 500)
        table.cover(task, [OWNER], -300)
    assert table.end(1, [Seen(10, 100, -300)]) == []
    assert table.end(2, [Seen(10, 100, -300)]) == [Change(10, 100, -300, 0)]


def test_a_child_with_a_task_of_its_own_keeps_it() -> None:
    table = Protections()
    table.begin(1, 500)
    table.cover(1, [OWNER], -300)
    child = Seen(11, 600, -300)
    table.begin(2, 700)
    assert table.cover(2, [child], -300) == []
    assert table.end(1, [child]) == [Change(10, 100, -300, 0)]
    assert table.end(2, [child]) == [Change(11, 600, -300, 0)]


@given(st.integers(-1000, 1000), st.integers(-1000, 0))
def test_never_under_the_floor_and_never_up(score: int, amount: int) -> None:
    table = Protections()
    table.begin(1, 0)
    for change in table.cover(1, [Seen(10, 100, score)], amount):
        assert change.before == score
        assert max(-900, score + amount) == change.after < score


def test_written_down_and_taken_up() -> None:
    table = Protections()
    table.begin(1, 500)
    table.cover(1, [OWNER], -300)
    later = Protections()
    later.restore(1, 500, table.record(1))
    assert later.end(1, []) == [Change(10, 100, -300, 0)]
