# SPDX-License-Identifier: Apache-2.0
"""Questions that are never answered leave room for other people's."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.questions import NoRoom, Questions


def test_one_person_asks_so_often() -> None:
    questions = Questions(32, 8)
    for number in range(8):
        assert questions.begin(number, 1) is None
    with pytest.raises(NoRoom, match="8 questions of polkit's wait for you"):
        questions.begin(8, 1)
    questions.end(3, 1)
    assert questions.begin(8, 1) is None
    assert len(questions) == 8


def test_eight_people_who_never_answer_leave_room_for_a_ninth() -> None:
    questions = Questions(32, 8)
    for person in range(8):
        for number in range(4):
            assert questions.begin((person, number), person) is None
    given_up = [questions.begin((9, number), 9) for number in range(3)]
    # the latest of those with most; who may have been asked for longest keeps the dialog
    assert given_up == [(0, 3), (1, 3), (2, 3)]
    with pytest.raises(NoRoom, match="32 questions"):
        questions.begin((9, 3), 9)
    assert len(questions) == 32


def test_as_many_people_as_there_are_places() -> None:
    questions = Questions(4, 2)
    for person in range(4):
        questions.begin(person, person)
    with pytest.raises(NoRoom, match="4 questions"):
        questions.begin(4, 4)
    questions.end(2, 2)
    assert questions.begin(4, 4) is None


def test_an_end_that_is_none() -> None:
    questions = Questions(4, 2)
    questions.begin(1, 1)
    questions.end(2, 1)
    questions.end(1, 2)
    assert len(questions) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_there_is_room_for_who_has_little(steps: list[tuple[bool, int]]) -> None:
    questions = Questions(6, 3)
    held: dict[int, int] = {}
    for key, (begins, person) in enumerate(steps):
        counts = Counter(held.values())
        if not begins:
            mine = next((each for each, whose in held.items() if whose == person), None)
            if mine is not None:
                questions.end(mine, person)
                del held[mine]
            continue
        most = max(counts.values(), default=0)
        try:
            given_up = questions.begin(key, person)
        except NoRoom:
            assert counts[person] == 3 or (len(held) == 6 and most < counts[person] + 2)
            continue
        if given_up is not None:
            assert isinstance(given_up, int)
            assert len(held) == 6
            assert counts[held.pop(given_up)] == most >= counts[person] + 2
        held[key] = person
        assert len(questions) == len(held) <= 6
