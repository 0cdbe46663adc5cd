# SPDX-License-Identifier: Apache-2.0
"""Whose uids are people's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.missions.people import is_own_name, is_person, may_be_named


def named(_: int) -> bool:
    return True


def unnamed(_: int) -> bool:
    return False


@pytest.mark.parametrize("uid", [1000, 60000, 60001, 60513])
def test_people_by_number(uid: int) -> None:
    assert is_person(uid, unnamed)


@pytest.mark.parametrize("uid", [65536, 200_001, 524_287, 524_288, 524_300, 1_863_000_005, 2**31, 2**32 - 2])
def test_people_of_directories_have_names(uid: int) -> None:
    assert is_person(uid, named)
    assert not is_person(uid, unnamed)


@pytest.mark.parametrize(
    "uid", [0, 1, 999, 60514, 61184, 65519, 65533, 65534, 65535, 0x7FFE0000, 0x7FFEFFFF, 2**32 - 1, 2**32, -1]
)
def test_none_of_these_is_a_person_whatever_its_name(uid: int) -> None:
    assert not is_person(uid, named)


def test_where_people_begin_is_the_administrators_choice() -> None:
    assert is_person(500, unnamed, first=500)
    assert not is_person(1000, named, first=2000)
    assert not is_person(70_000, named, first=100_000)


@given(st.integers(0, 2**32))
def test_the_database_is_asked_only_where_it_can_tell(uid: int) -> None:
    asked: list[int] = []

    def is_named(each: int) -> bool:
        asked.append(each)
        return True

    is_person(uid, is_named)
    assert asked == ([uid] if may_be_named(uid) else [])


def test_names_made_of_numbers_are_nobodys() -> None:
    assert is_own_name(524_300, "eve")
    assert is_own_name(1000, "vu-1000")
    assert not is_own_name(524_300, "vu-debian-12")
    assert not is_own_name(524_300, "")
