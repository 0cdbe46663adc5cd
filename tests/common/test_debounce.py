# SPDX-License-Identifier: Apache-2.0
"""Work that is asked for often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from missiond.common.debounce import Debouncer, SlicedDebouncer
from missiond.common.time_slice import SlicedQueue


async def test_many_requests_are_one_look() -> None:
    done = asyncio.Event()
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        done.set()

    pace = Debouncer(look, 0.001)
    for _ in range(10):
        pace.ask()
    await done.wait()
    assert looks == [1]


@pytest.fixture
def queue() -> SlicedQueue:
    return SlicedQueue(1e-9)  # one step in each turn


class Look:
    """Three steps."""

    def __init__(self, queue: SlicedQueue) -> None:
        self.steps: list[int] = []
        self.begun, self.finished = asyncio.Event(), asyncio.Event()
        self.pace = SlicedDebouncer(self._look, 0.0, queue, "alice")

    def _look(self) -> Iterator[None]:
        self.finished.clear()
        for number in range(3):
            self.steps.append(number)
            self.begun.set()
            yield
        self.finished.set()


async def test_requests_while_it_is_at_work_are_one_more_look(queue: SlicedQueue) -> None:
    look = Look(queue)
    look.pace.ask()
    await look.begun.wait()
    look.pace.ask()
    look.pace.ask()
    await look.finished.wait()
    assert look.steps == [0, 1, 2]
    look.begun.clear()
    await look.begun.wait()
    await look.finished.wait()
    assert look.steps == [0, 1, 2, 0, 1, 2]
    assert not len(queue)


async def test_after_its_end_nothing_is_asked_for(queue: SlicedQueue) -> None:
    look = Look(queue)
    look.pace.ask()
    await look.begun.wait()
    look.pace.ask()
    look.pace.close()
    while len(queue):
        await asyncio.sleep(0)
    look.pace.ask()
    look.begun.clear()
    await asyncio.sleep(0.01)
    assert not look.begun.is_set()


async def test_a_step_that_fails_ends_the_look_alone(
    queue: SlicedQueue, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []
    done = asyncio.Event()

    def look() -> Iterator[None]:
        looks.append(1)
        yield
        if len(looks) == 1:
            pace.ask()
            raise ValueError("the first")
        done.set()

    pace = SlicedDebouncer(look, 0.0, queue, None)
    pace.ask()
    await done.wait()
    assert "failed" in caplog.text
