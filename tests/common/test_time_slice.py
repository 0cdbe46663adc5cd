# SPDX-License-Identifier: Apache-2.0
"""Heaps of work leave room for everything else."""

from __future__ import annotations

import asyncio
import itertools
import time
from functools import partial

import pytest

from missiond.common.time_slice import SLICE, SlicedQueue


def _busy(done: list[int], number: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    done.append(number)


async def test_a_little_is_done_at_once() -> None:
    turns, done = SlicedQueue(), list[int]()
    turns.add(partial(done.append, 1))
    turns.add(partial(done.append, 2))
    assert done == [1, 2]


async def test_a_heap_is_done_over_many_turns_in_order() -> None:
    turns, done = SlicedQueue(), list[int]()
    for number in range(30):
        turns.add(partial(_busy, done, number, SLICE / 3))
    at_most = 4  # that begin within a slice, or a little more
    assert len(done) <= at_most
    steps = [len(done)]
    while len(turns):
        await asyncio.sleep(0)
        steps.append(len(done))
    assert done == list(range(30))
    assert max(after - before for before, after in itertools.pairwise(steps)) <= at_most


async def test_what_is_added_meanwhile_waits_its_turn() -> None:
    turns, done = SlicedQueue(), list[int]()
    turns.add(partial(_busy, done, 1, SLICE * 1.1))
    turns.add(lambda: turns.add(partial(done.append, 3)))
    turns.add(partial(done.append, 2))
    assert done == [1]
    while len(turns):
        await asyncio.sleep(0)
    assert done == [1, 2, 3]


async def test_one_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    turns, done = SlicedQueue(), list[int]()
    turns.add(partial(_busy, done, 1, SLICE * 1.1))
    turns.add(lambda: done.remove(7))
    turns.add(partial(done.append, 2))
    while len(turns):
        await asyncio.sleep(0)
    assert done == [1, 2]
    assert "failed" in caplog.text


async def test_nothing_is_done_after_its_end() -> None:
    turns, done = SlicedQueue(), list[int]()
    turns.add(partial(_busy, done, 1, SLICE * 1.1))
    turns.add(partial(done.append, 2))
    turns.close()
    await asyncio.sleep(0.01)
    assert done == [1]
