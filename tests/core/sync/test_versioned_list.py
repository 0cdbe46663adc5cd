# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from missiond.core.link import rows
from missiond.core.missions.missions import Row
from missiond.core.sync.publisher import split
from missiond.core.sync.replica import Applied, Replica
from missiond.core.sync.versioned_list import VersionedList
from standins.worlds.sync_host import Rows, mission, only

LIST = 77


def shown(published: VersionedList, tag: int = 0) -> Rows:
    """What a peer sees that had nothing."""
    update = published.update(None, tag)
    assert update.full
    return {row[0]: row for row in map(rows.decode, update.rows)}


def test_each_change_has_a_number_and_no_change_has_none() -> None:
    published = VersionedList(LIST)
    assert published.change([mission(1), mission(2)], ())
    assert published.seq == 2
    assert not published.change([mission(2)], [9])
    assert published.change([mission(2, "new")], [1])
    assert published.seq == 4
    update = published.update((LIST, 2), 0)
    assert (update.full, update.prev_seq, update.last_seq) == (False, 2, 4)
    assert [rows.decode(row) for row in update.rows] == [mission(2, "new")]
    assert update.removed == (1,)


def test_who_has_everything_gets_nothing() -> None:
    published = VersionedList(LIST)
    published.change([mission(1)], ())
    update = published.update((LIST, 1), 0)
    assert (update.full, update.rows, update.removed, update.last_seq) == (False, (), (), 1)


@pytest.mark.parametrize("since", [None, (LIST + 1, 1), (LIST, 2), (0, 0)])
def test_another_list_or_a_number_that_never_was_gets_all(since: tuple[int, int] | None) -> None:
    published = VersionedList(LIST)
    published.change([mission(1)], ())
    assert published.update(since, 0).full


def test_who_misses_a_forgotten_removal_gets_all() -> None:
    published = VersionedList(LIST, tombstones=2)
    published.change([mission(number) for number in range(1, 9)], ())
    published.change((), [1, 2, 3])
    assert published.update((LIST, 8), 0).full
    assert published.update((LIST, 9), 0).removed == (2, 3)


def test_a_tag_that_changes_is_a_removal_for_those_who_follow_the_old_one() -> None:
    published = VersionedList(LIST)
    published.change([mission(1, tag=5), mission(2, tag=5)], ())
    published.change([mission(1, tag=6)], ())
    update = published.update((LIST, 2), 5)
    assert (update.rows, update.removed) == ((), (1,))
    assert published.update((LIST, 2), 0).removed == ()
    assert shown(published, 6) == {1: mission(1, tag=6)}
    published.change([mission(1, tag=5)], ())
    update = published.update((LIST, 2), 5)
    assert ([rows.decode(row) for row in update.rows], update.removed) == ([mission(1, tag=5)], ())
    assert published.tag_of(1) == 5
    assert published.tag_of(9) is None


def test_replacing_with_the_same_is_no_change() -> None:
    published = VersionedList(LIST)
    assert published.replace([mission(1), mission(2)])
    assert not published.replace([mission(2), mission(1)])
    assert published.replace([mission(2), mission(3)])
    assert shown(published) == {2: mission(2), 3: mission(3)}


def test_what_there_is_no_room_for_waits() -> None:
    published = VersionedList(LIST, max_rows=2)
    published.change([mission(number) for number in (1, 2, 3, 4)], ())
    assert (set(shown(published)), published.waiting, len(published)) == ({1, 2}, 2, 2)
    published.change([mission(3, "new")], [1])
    assert shown(published) == {2: mission(2), 3: mission(3, "new")}
    published.change((), [4])
    assert published.waiting == 0
    published.change([mission(4)], ())
    published.replace([mission(4)])
    assert shown(published) == {4: mission(4)}


def test_a_row_that_outgrows_the_list_waits() -> None:
    size = len(rows.encode(mission(1)))
    published = VersionedList(LIST, max_bytes=2 * size)
    published.change([mission(1), mission(2)], ())
    published.change([mission(1, "long" * size)], ())
    assert (set(shown(published)), published.waiting) == ({2}, 1)
    published.change([mission(1)], ())
    assert (set(shown(published)), published.waiting) == ({1, 2}, 0)


def test_list_ids() -> None:
    for bad in (0, -1, 2**63):
        with pytest.raises(ValueError, match="list_id"):
            VersionedList(bad)


ROW = st.builds(mission, st.integers(1, 6), st.sampled_from(["x", "y"]), st.sampled_from([0, 0, 5]))
STEP = st.tuples(st.lists(ROW, max_size=4), st.lists(st.integers(1, 6), max_size=3), st.booleans())


@settings(deadline=None)
@given(st.lists(STEP, max_size=12), st.integers(0, 5), st.sampled_from([0, 5]), st.data())
def test_any_point_leads_to_now(
    steps: list[tuple[list[Row], list[int], bool]], tombstones: int, tag: int, data: st.DataObject
) -> None:
    """A view that was brought up to date at some points is equal at the end, whatever happened between."""
    published = VersionedList(LIST, tombstones)
    view = Replica(tag)
    owned: Rows = {}
    for changed, removed, whole in steps:
        if whole:
            owned = {row[0]: row for row in changed}
            published.replace(changed)
        else:
            owned.update({row[0]: row for row in changed})
            for number in removed:
                owned.pop(number, None)
            published.change(changed, removed)
        if data.draw(st.booleans()):
            update = published.update((view.list_id, view.seq) if view.complete else None, tag)
            assert not {rows.mission_of(row) for row in update.rows} & set(update.removed)
            for part in split(update, data.draw(st.sampled_from([600, 10_000]))):
                assert isinstance(view.apply(part), Applied)
            assert {row[0]: row for row in view.rows()} == only(owned, tag)
            assert view.seq == published.seq
