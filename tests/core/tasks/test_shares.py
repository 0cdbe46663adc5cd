# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.tasks.shares import ROOT, Shares


def fill(shares: Shares, person: int) -> int:
    """Take all that the person may have; how much that was."""
    taken = 0
    while shares.has_room(person):
        shares.take(len(shares), person)
        taken += 1
    return taken


@pytest.mark.parametrize("most", [100, 409, 1000, 4096, 10_000, 16_384])
def test_whoever_fills_it_leaves_room_for_others_and_for_root(most: int) -> None:
    shares = Shares(most)
    assert most // 3 <= fill(shares, 1000) <= most // 2
    for person in range(1001, 1006):
        assert fill(shares, person) >= min(4, most // 16)
    assert fill(shares, ROOT) >= most // 16
    assert len(shares) <= most


def test_sixty_who_each_take_all_that_they_may_leave_some_for_others() -> None:
    shares = Shares(4096)
    assert min(fill(shares, person) for person in range(1000, 1060)) >= 16
    assert shares.has_room(2000)


def test_a_small_pool_is_not_divided() -> None:
    shares = Shares(3)
    assert fill(shares, 1000) == 3
    assert not shares.has_room(ROOT)


def test_what_is_given_back_is_there_again() -> None:
    shares = Shares(100)
    taken = fill(shares, 1000)
    for key in range(taken):
        shares.give_back(key)
        shares.give_back(key)
    assert len(shares) == shares.of(1000) == 0
    assert fill(shares, 1001) == taken


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300), st.integers(1, 200))
def test_it_never_holds_more_than_there_is(steps: list[tuple[int, bool]], most: int) -> None:
    shares = Shares(most)
    for key, (person, takes) in enumerate(steps):
        if not takes:
            shares.give_back(key // 2)
        elif shares.has_room(person):
            shares.take(key, person)
            shares.take(key, person + 1)
            assert shares.person(key) == person
        assert len(shares) <= most
        assert len(shares) == sum(shares.of(each) for each in range(6))
