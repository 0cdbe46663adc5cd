# SPDX-License-Identifier: Apache-2.0
"""Events of tasks: none is missed, and nobody waits for one that can't come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

import missiond
from missiond import Ended, Event, Expiring, GivenUp, Resumed, Suspended, SuspendReason, bus_names
from missiond.bus.connection import Connection
from missiond.client import _tasks
from standins.agents.agent import StandInAgent
from standins.services.private_bus import PrivateBus


def emit(agent: StandInAgent, member: str, *arguments: object) -> None:
    agent.server.emit(bus_names.MANAGER_PATH, bus_names.BACKGROUND_TASK_MANAGER, member, *arguments)


async def all_of(task: missiond.Task | missiond.Delay) -> list[Event]:
    async with asyncio.timeout(10):
        return [event async for event in task.events()]


async def test_what_happens_to_a_task(agent: StandInAgent, client: missiond.Agent) -> None:
    task = await client.keep_awake("a")
    other = await client.keep_awake("b")
    emit(agent, "ContinuousTaskSuspend", task.id, 32, "the battery is critical")
    emit(agent, "ContinuousTaskActive", task.id)
    emit(agent, "ContinuousTaskSuspend", task.id, 4, "a reason of a newer agent")
    emit(agent, "ContinuousTaskFailed", task.id, "too many ends")
    emit(agent, "ContinuousTaskCancel", other.id, 1)
    emit(agent, "ContinuousTaskCancel", task.id, 2)
    assert await all_of(task) == [
        Suspended(SuspendReason.BATTERY_CRITICAL, "the battery is critical"),
        Resumed(),
        Suspended(4, "a reason of a newer agent"),
        GivenUp("too many ends"),
        Ended("system"),
    ]
    assert await all_of(other) == [Ended("cancelled")]
    assert await other.wait() == "cancelled"


async def test_what_happens_to_a_delay(agent: StandInAgent, client: missiond.Agent) -> None:
    delay = await client.delay_sleep("a")
    emit(agent, "SuspendDelayExpiring", delay.id, 6000)
    agent.end("transient", delay.id, "battery-low")
    assert await all_of(delay) == [Expiring(6.0), Ended("battery-low")]
    assert delay.remaining == 0


async def test_an_expiring_delay_knows_what_remains(agent: StandInAgent, client: missiond.Agent) -> None:
    delay = await client.delay_sleep("a")
    events = delay.events()
    emit(agent, "SuspendDelayExpiring", delay.id, 2000)
    assert await anext(events) == Expiring(2.0)
    assert delay.remaining <= 2


async def test_what_is_told_before_the_answer_is_not_missed(
    agent: StandInAgent, client: missiond.Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = agent.begin

    async def begin_and_end(*arguments: object) -> int:
        number = await begin(*arguments)  # type: ignore[arg-type]
        agent.end("transient", number, "battery-critical")
        return number

    monkeypatch.setattr(agent, "begin", begin_and_end)
    assert await (await client.delay_sleep("a")).wait() == "battery-critical"


async def test_a_task_of_another_program_is_not_ours(agent: StandInAgent, client: missiond.Agent) -> None:
    async with missiond.connect() as other:
        theirs = await other.delay_sleep("a")
        ours = await client.delay_sleep("b")
        agent.end("transient", theirs.id, "expired")
        agent.end("transient", ours.id, "cancelled")
        assert await ours.wait() == "cancelled"
        assert await theirs.wait() == "expired"


async def test_a_task_that_its_program_stops(agent: StandInAgent, client: missiond.Agent) -> None:
    task = await client.keep_awake("a")
    waiting = asyncio.ensure_future(task.wait())
    await task.stop()
    assert await waiting == "stopped"
    task = await client.keep_awake("a")
    agent.end("continuous", task.id, "its object goes")
    assert await task.wait() == "stopped"


async def test_a_task_that_its_user_cancels(agent: StandInAgent, client: missiond.Agent) -> None:
    task = await client.keep_awake("a")
    await task.cancel()
    assert await all_of(task) == [Ended("stopped")]  # the stand-in has no ContinuousTaskCancel


async def test_several_wait_for_one_end(agent: StandInAgent, client: missiond.Agent) -> None:
    delay = await client.delay_sleep("a")
    waiting: list[Awaitable[str]] = [asyncio.ensure_future(delay.wait()) for _ in range(3)]
    agent.end("transient", delay.id, "expired")
    assert await asyncio.gather(*waiting) == ["expired"] * 3


async def test_the_end_of_a_delay_that_nobody_told(
    agent: StandInAgent, client: missiond.Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tasks, "GRACE", 0.0)
    delay = await client.delay_sleep("a", at_most=0.001)
    del agent.tasks["transient", delay.id]
    async with asyncio.timeout(10):
        assert await delay.wait() == "expired"


async def test_a_bus_that_goes(agent: StandInAgent, client: missiond.Agent, private_bus: PrivateBus) -> None:
    task = await client.keep_awake("a")
    waiting = asyncio.ensure_future(task.wait())
    private_bus.stop()
    with pytest.raises(missiond.Unreachable, match="gone"):
        await waiting
    with pytest.raises(missiond.Unreachable):
        await anext(task.events())
    with pytest.raises(missiond.Unreachable):
        await client.reload()


async def test_an_agent_that_is_started_again(
    agent: StandInAgent, client: missiond.Agent, system_bus: str
) -> None:
    kept = await client.keep_awake("kept")
    lost = await client.keep_awake("lost")
    after = StandInAgent(await Connection.open(system_bus))
    after.tasks.clear()
    await agent.stop()
    task = agent.tasks["continuous", kept.id]
    after.tasks["continuous", kept.id] = task
    after.server.add(f"{bus_names.MANAGER_PATH}/continuous/{kept.id}", task)
    await after.serve()
    try:
        async with asyncio.timeout(10):
            assert await lost.wait() == "lost"
        emit(after, "ContinuousTaskCancel", kept.id, 1)
        assert await kept.wait() == "cancelled"
    finally:
        await after.stop()


async def test_events_that_nobody_reads_are_bounded(agent: StandInAgent, client: missiond.Agent) -> None:
    task = await client.keep_awake("a")
    for _ in range(200):
        emit(agent, "ContinuousTaskActive", task.id)
    emit(agent, "ContinuousTaskCancel", task.id, 1)
    await task.wait()
    events = await all_of(task)
    assert len(events) < 100
    assert events[-1] == Ended("cancelled")


async def test_a_closed_connection_ends_whoever_waits(agent: StandInAgent) -> None:
    async with missiond.connect() as client:
        waiting = asyncio.ensure_future((await client.keep_awake("a")).wait())
        await asyncio.sleep(0)
    with pytest.raises(missiond.Unreachable, match="closed"):
        await waiting
