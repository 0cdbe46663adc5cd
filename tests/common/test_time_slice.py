# SPDX-License-Identifier: Apache-2.0
"""Heaps of work leave room for everything else."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Generator, Iterator
from functools import partial

import pytest

from missiond.common.time_slice import SLICE, SlicedQueue
from standins.worlds.clock_loop import ClockLoop


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


async def test_keys_have_their_turns() -> None:
    turns, done = SlicedQueue(), list[str]()

    def heap() -> Iterator[None]:
        for number in range(5):
            done.append(f"a{number}")
            yield

    turns.add(partial(_busy, [], 1, SLICE * 1.1))
    turns.add(heap, "a")
    turns.add(partial(done.append, "late"), "a")
    turns.add(partial(done.append, "b"), "b")
    while len(turns):
        await asyncio.sleep(0)
    assert done == ["a0", "b", "a1", "a2", "a3", "a4", "late"]


async def test_all_that_waits_was_done_before_it_calls_back() -> None:
    turns, done = SlicedQueue(), list[str]()
    turns.after_all(partial(done.append, "nothing waits"))
    turns.add(partial(_busy, [], 1, SLICE * 1.1))
    turns.add(partial(done.append, "a"), "a")
    turns.add(lambda: iter([None] * 3), "b")
    turns.add(partial(done.append, "b1"), "b")
    turns.after_all(partial(done.append, "over"))
    turns.add(partial(done.append, "later"), "a")
    while len(turns):
        await asyncio.sleep(0)
    assert done[0] == "nothing waits"
    assert done.index("over") > max(done.index("a"), done.index("b1"))
    assert "later" in done


async def test_it_rests_between_two_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ClockLoop(monkeypatch)
    turns, done = SlicedQueue(0.001, 0.05), list[int]()
    for number in range(3):
        turns.add(partial(_busy, done, number, 0.002))
    for number in range(1, 3):
        assert done == list(range(number))
        loop.advance(0.049)
        assert done == list(range(number))
        loop.advance(0.001)
    assert (done, len(turns)) == ([0, 1, 2], 0)


async def test_a_result_comes_after_many_turns() -> None:
    turns, looks = SlicedQueue(1e-9), list[int]()

    def steps() -> Generator[None, None, str]:
        for _ in range(5):
            looks.append(1)
            yield
        return "done"

    waiting = asyncio.ensure_future(turns.result(steps(), "alice"))
    for count in range(1, 4):
        await asyncio.sleep(0)
        assert len(looks) <= count + 1
    assert await waiting == "done"


async def test_a_result_that_fails_or_is_waited_for_no_more() -> None:
    turns = SlicedQueue(1e-9)

    def failing() -> Generator[None, None, None]:
        yield
        raise ValueError("no result")

    with pytest.raises(ValueError, match="no result"):
        await turns.result(failing())
    waiting = asyncio.ensure_future(turns.result((each for each in [None] * 9), "alice"))
    await asyncio.sleep(0)
    waiting.cancel()
    while len(turns):
        await asyncio.sleep(0)
    assert waiting.cancelled()
