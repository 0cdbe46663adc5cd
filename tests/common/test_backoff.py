# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from missiond.common.backoff import LEAST, MOST, Backoff, pause_after


def test_whoever_comes_back_after_ten_seconds_is_met_within_three() -> None:
    assert pause_after(10_000, 1.0) <= 3000


def test_whoever_was_started_again_is_met_at_once() -> None:
    """Less than a second after three of absence; and it costs few dials."""
    elapsed, dials = 0, []
    while elapsed < 3000:
        elapsed += pause_after(elapsed, 1.0)
        dials.append(elapsed)
    assert max(later - sooner for sooner, later in itertools.pairwise(dials)) <= 750
    assert len(dials) <= 12


@given(st.integers(0, 10**9), st.floats(0, 1))
def test_never_at_once_and_never_for_ever(elapsed: int, chance: float) -> None:
    assert int(LEAST * 0.75) <= pause_after(elapsed, chance) <= MOST * 1.25


def test_a_day_of_absence_costs_about_a_dial_a_minute() -> None:
    elapsed, dials = 0, 0
    while elapsed < 86_400_000:
        elapsed += pause_after(elapsed, 0.5)
        dials += 1
    assert 1440 <= dials <= 1500


def test_pauses_double_up_to_the_longest() -> None:
    pauses = Backoff(2.0, 10.0)
    assert pauses.fresh
    assert [pauses.next() for _ in range(5)] == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert not pauses.fresh
    pauses.reset()
    assert pauses.next() == 2.0


async def test_one_callback_at_a_time() -> None:
    pauses, called = Backoff(0.001, 1.0), asyncio.Queue[int]()
    pauses.later(lambda: called.put_nowait(1))
    pauses.later(lambda: called.put_nowait(2))
    assert pauses.waiting
    assert await called.get() == 1
    assert not pauses.waiting
    assert called.empty()
    pauses.later(lambda: called.put_nowait(3))
    pauses.cancel()
    assert not pauses.waiting
    pauses.reset()
    pauses.later(lambda: called.put_nowait(4))
    assert await called.get() == 4


async def test_a_callback_may_ask_to_be_called_again() -> None:
    pauses, done = Backoff(0.001, 0.001), asyncio.Event()

    def again() -> None:
        pauses.later(done.set)

    pauses.later(again)
    await done.wait()
