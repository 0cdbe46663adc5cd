# SPDX-License-Identifier: Apache-2.0
"""Tasks that nobody waits for."""

from __future__ import annotations

import asyncio
import logging

import pytest

from missiond.common.background_work import BackgroundWork
from missiond.common.log_limiter import LogLimiter

LOGGER = logging.getLogger("test")


async def fail() -> None:
    raise ValueError("broken")


async def test_failures_are_logged_and_cancellations_are_not(caplog: pytest.LogCaptureFixture) -> None:
    work = BackgroundWork(LOGGER, "the work")
    work.start(fail())
    work.start(asyncio.Event().wait()).cancel()
    await work.closed()
    assert [record.getMessage() for record in caplog.records] == ["the work failed"]
    assert "broken" in caplog.text
    assert len(work) == 0


async def test_failures_that_others_cause_are_limited(caplog: pytest.LogCaptureFixture) -> None:
    work = BackgroundWork(LogLimiter(LOGGER, burst=2), "the work")
    for _ in range(5):
        work.start(fail())
    await work.closed()
    assert len(caplog.records) == 2


async def test_all_ends_with_close() -> None:
    work = BackgroundWork(LOGGER, "the work")
    tasks = [work.start(asyncio.Event().wait(), key) for key in (None, "a", "b")]
    work.close()
    await work.closed()
    assert all(task.cancelled() for task in tasks)


async def test_a_key_ends_without_the_task_that_ends_it() -> None:
    work = BackgroundWork(LOGGER, "the work")
    ended = []

    async def end() -> None:
        work.cancel("a")
        await asyncio.sleep(0)
        ended.append(True)

    others = [work.start(asyncio.Event().wait(), key) for key in "ab"]
    await work.start(end(), "a")
    assert ended
    assert [task.cancelled() for task in others] == [True, False]
    assert work.of("b") == [others[1]]
    work.close()
    await work.closed()
