# SPDX-License-Identifier: Apache-2.0
"""The way to missiond-helper, for those who ask no more while they are answered."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from missiond.helper.requests import Signal
from missiond.host.helper import Helper
from missiond.host.processes.procfs import ProcDirectory
from standins.services.helper import HelperStandIn, helper

TURNS = range(12)
"""Of the loop: more than a question takes that is answered at once."""
NOBODY = Signal(os.getpid(), 1, "CONT")


def fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop says of tasks whose end nobody saw."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: found.append(context))
    yield found
    gc.collect()
    assert found == []


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[HelperStandIn]:
    with helper(tmp_path / "helper") as stand_in:
        yield stand_in
    await asyncio.sleep(0)  # it ends, too


@pytest.fixture
def sleeper() -> Iterator[Signal]:
    """A process of this user's, to be told to go on."""
    process = subprocess.Popen(["sleep", "60"])
    with ProcDirectory(process.pid) as directory:
        start = directory.start_ticks()
    yield Signal(process.pid, start, "CONT")
    process.kill()
    process.wait(timeout=10)


async def cut_short(asking: Coroutine[Any, Any, Any], turns: int) -> None:
    """Cancel after so many turns of the loop; it must be over in the next, and leave no task."""
    before = asyncio.all_tasks()
    task = asyncio.get_running_loop().create_task(asking)
    for _ in range(turns):
        await asyncio.sleep(0)
    was_done = task.done()
    task.cancel()
    await asyncio.wait([task])
    assert was_done or task.cancelled()
    if not task.cancelled():
        task.exception()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.usefixtures("complaints")
async def test_nothing_is_left_where_nobody_is_found(tmp_path: Path, turns: int) -> None:
    before = fds()
    way = Helper(tmp_path / "none")
    await cut_short(way.ask([NOBODY]), turns)
    await cut_short(way.prepare(), turns)
    way.close()
    assert fds() == before


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.usefixtures("complaints")
async def test_no_socket_is_left_by_a_close_while_it_is_asked(
    served: HelperStandIn, sleeper: Signal, turns: int
) -> None:
    way = Helper(served.place)
    way.stay = True
    before = fds()
    task = asyncio.get_running_loop().create_task(way.ask([sleeper] * 2))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    way.close()
    await asyncio.wait([task])
    assert way._socket is None
    while served._open:
        await asyncio.sleep(0)
    assert fds() == before


@pytest.mark.usefixtures("complaints")
async def test_the_next_question_has_its_own_answer(served: HelperStandIn, sleeper: Signal) -> None:
    served.hangs = True
    way = Helper(served.place)
    way.stay = True
    task = asyncio.get_running_loop().create_task(way.ask([NOBODY]))
    await served.until_heard(1)
    task.cancel()
    await asyncio.wait([task])
    await served.go_on()
    served.hangs = False
    assert await way.ask([sleeper]) == [""]
    way.close()
