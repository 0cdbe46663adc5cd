# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from missiond.common.backoff import LEAST, MOST, delay


def test_whoever_comes_back_after_ten_seconds_is_met_within_three() -> None:
    assert delay(10_000, 1.0) <= 3000


def test_whoever_was_started_again_is_met_at_once() -> None:
    """Less than a second after three of absence; and it costs few dials."""
    elapsed, dials = 0, []
    while elapsed < 3000:
        elapsed += delay(elapsed, 1.0)
        dials.append(elapsed)
    assert max(later - sooner for sooner, later in itertools.pairwise(dials)) <= 750
    assert len(dials) <= 12


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_never_at_once_and_never_for_ever(elapsed: int, chance: float) -> None:
    assert int(LEAST * 0.75) <= delay(elapsed, chance) <= MOST * 1.25


def test_a_day_of_absence_costs_about_a_dial_a_minute() -> None:
    elapsed, dials = 0, 0
    while elapsed < 86_400_000:
        elapsed += delay(elapsed, 0.5)
        dials += 1
    assert 1440 <= dials <= 1500
