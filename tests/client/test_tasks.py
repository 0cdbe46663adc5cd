# SPDX-License-Identifier: Apache-2.0
"""Continuous and transient tasks of a program with an event loop."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import missiond
from missiond import Mode
from missiond.bus.connection import Connection
from missiond.client import _bus
from missiond.errors import (
    CallerVerificationFailed,
    InvalidParameter,
    NotificationVerificationFailed,
    PermissionDenied,
    TransientTaskVerificationFailed,
)
from standins.agents.agent import STARTED, StandInAgent
from standins.agents.stopped import stopped_agent
from standins.services.private_bus import running_bus


async def test_a_task_lasts_as_long_as_its_block(agent: StandInAgent, client: missiond.Agent) -> None:
    async with client.keep_awake("copy", mode="data-transfer") as task:
        assert (task.id, task.held) == (1, True)
        assert len(agent.tasks) == 1
    assert agent.tasks == {}
    assert not task.held
    started, stopped = agent.script.calls
    assert started == ("StartBackgroundRunning", ["dataTransfer"], {"title": "copy", "context": task.context})
    assert stopped == ("StopBackgroundRunning", {"context": task.context})


async def test_all_options_of_a_task(agent: StandInAgent, client: missiond.Agent) -> None:
    await client.keep_awake(
        "t",
        mode=[Mode.VOIP, "location", "multi_device_connection"],
        at_most=timedelta(seconds=5),
        context="c",
        pid=os.getpid(),
        keep_alive="none",
        text="x",
        inhibit=["idle"],
        on_click={"desktop-id": "a", "uris": ["mailto:x"], "parameter": 7},
    )
    [(_, modes, options)] = agent.script.calls
    assert modes == ["voip", "location", "multiDeviceConnection"]
    assert options == {
        "context": "c", "keep-alive": "none", "title": "t", "text": "x", "pid": os.getpid(),
        "want-agent": {"desktop-id": "a", "uris": ["mailto:x"], "parameter": 7},
        "inhibit": ["idle"], "time-out": 5000,
    }  # fmt: skip


async def test_two_tasks_of_one_program_do_not_collide(agent: StandInAgent, client: missiond.Agent) -> None:
    async with client.keep_awake("a") as one, client.keep_awake("b") as other, missiond.connect() as second:
        assert len({one.context, other.context, (await second.keep_awake("c")).context}) == 3


async def test_a_task_that_is_awaited_outlives_its_statement(
    agent: StandInAgent, client: missiond.Agent
) -> None:
    task = await client.keep_awake("copy", pid=os.getpid())
    assert len(agent.tasks) == 1
    await task.update("voip")
    await task.stop()
    assert agent.script.calls[1:] == [
        ("UpdateBackgroundRunning", ["voip"], {"context": task.context, "pid": os.getpid()}),
        ("StopBackgroundRunning", {"context": task.context, "pid": os.getpid()}),
    ]


async def test_a_delay_lasts_as_long_as_its_block(agent: StandInAgent, client: missiond.Agent) -> None:
    async with client.delay_sleep("saving", at_most=5) as delay:
        assert (delay.id, delay.granted, delay.held) == (1, 5.0, True)
        assert 0 < delay.remaining <= 5
        assert await delay.refresh() == pytest.approx(5, abs=1)
    assert agent.tasks == {}
    assert (delay.remaining, delay.held) == (0, False)
    assert [call[0] for call in agent.script.calls] == [
        "RequestSuspendDelay", "GetRemainingDelayTime", "CancelSuspendDelay",
    ]  # fmt: skip
    assert agent.script.calls[0][1:] == ("saving", {"delay": 5000})


async def test_a_task_that_is_ended_by_others_is_not_held(
    agent: StandInAgent, client: missiond.Agent
) -> None:
    async with client.keep_awake("copy") as task:
        agent.end("continuous", task.id, "cancelled")
        await task.wait()
        assert not task.held


async def test_what_begins_after_the_end_of_the_connection_is_no_mistake(
    caplog: pytest.LogCaptureFixture, agent: StandInAgent
) -> None:
    """Such as the end of a watch in a program that was interrupted."""
    async with missiond.connect() as client:
        bus = client._bus
    bus.begin(bus.call("org.missiond.Agent1.BackgroundTaskManager", "GetTransientTaskInfo"))
    [task] = bus._begun
    await task
    assert caplog.text == ""


async def test_progress(agent: StandInAgent, client: missiond.Agent) -> None:
    async with client.keep_awake("copy", mode=Mode.DATA_TRANSFER) as task:
        await task.report(12.7, title="t", file_name="f")
        assert task.progress == 12
        task.progress = 50
        task.progress = 60
        task.progress = 60.4
        await agent.until(calls=3)
    told = [call[2] for call in agent.script.calls if call[0] == "UpdateDataTransferProgress"]
    assert told == [{"title": "t", "file-name": "f", "value": 12}, {"value": 60}]


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
async def test_progress_is_per_cent(client: missiond.Agent, percent: float) -> None:
    async with client.keep_awake("copy", mode="data-transfer") as task:
        with pytest.raises(missiond.Invalid, match="0 to 100"):
            task.progress = percent
        with pytest.raises(missiond.Invalid):
            await task.report(percent)


async def test_progress_of_what_is_no_transfer(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.script.failures["UpdateDataTransferProgress"] = NotificationVerificationFailed("no transfer")
    async with client.keep_awake("talk", mode="voip") as task:
        with pytest.raises(missiond.Refused, match="no transfer"):
            await task.report(1)


@pytest.mark.parametrize("span", [0, -1, float("nan"), float("inf"), 2**32, timedelta(days=60)])
async def test_spans_have_bounds(client: missiond.Agent, span: float | timedelta) -> None:
    with pytest.raises(missiond.Invalid, match="at_most"):
        client.delay_sleep("a", at_most=span)


async def test_tasks_end_with_the_connection(agent: StandInAgent) -> None:
    async with missiond.connect() as client:
        await client.delay_sleep("a")
        assert len(agent.tasks) == 1
    await agent.until(tasks=0)


async def test_a_block_that_outlives_its_task(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.script.failures["StopBackgroundRunning"] = missiond.errors.ContinuousTaskVerificationFailed("none")
    async with client.keep_awake("a"), client.delay_sleep("b"):
        agent.end("transient", 1, "expired")
        agent.end("continuous", 1, "stopped")


async def test_errors_are_the_agents(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.script.failures["StartBackgroundRunning"] = InvalidParameter("no such mode")
    with pytest.raises(missiond.Invalid, match=r"^401: no such mode$") as found:
        await client.keep_awake("a", mode="walking")
    assert type(found.value) is InvalidParameter
    assert found.value.code == 401
    with pytest.raises(CallerVerificationFailed):
        await client.remaining(9)
    agent.script.failures["RequestSuspendDelay"] = TransientTaskVerificationFailed("the quota is used up")
    with pytest.raises(missiond.Refused, match="quota"):
        await client.delay_sleep("a")


async def test_what_does_not_fit_the_interface_is_invalid(client: missiond.Agent) -> None:
    with pytest.raises(missiond.Invalid):
        await client.keep_awake("half \ud800 of a pair")
    with pytest.raises(missiond.Invalid):
        await client.keep_awake("a", pid=-1)
    with pytest.raises(missiond.Invalid):
        await client.remaining(2**32)


async def test_lists_of_tasks(agent: StandInAgent, client: missiond.Agent) -> None:
    async with (
        client.delay_sleep("saving"),
        client.keep_awake("copy", mode="data-transfer", inhibit=["idle"]),
    ):
        task, delay = await client.tasks()
    assert isinstance(task, missiond.TaskInfo)
    assert (task.name, task.title, task.modes) == ("continuous/1", "copy", (Mode.DATA_TRANSFER,))
    assert (task.progress.value, task.lock, task.locked, task.inhibit) == (40, "sleep", True, ("idle",))
    assert task.started == datetime.fromtimestamp(STARTED // 1_000_000, UTC)
    assert task.ends is None
    assert isinstance(delay, missiond.DelayInfo)
    assert (delay.name, delay.reason, delay.granted, delay.remaining) == ("transient/1", "saving", 180, 161)


async def test_tasks_of_a_list_can_be_cancelled(agent: StandInAgent, client: missiond.Agent) -> None:
    await client.delay_sleep("saving")
    await client.keep_awake("copy")
    for task in await client.tasks():
        await task.cancel()
    assert agent.tasks == {}
    assert [call[0] for call in agent.script.calls[2:]] == ["CancelContinuousTask", "CancelSuspendDelay"]


async def test_the_quota(client: missiond.Agent) -> None:
    await client.delay_sleep("saving", at_most=5)
    assert await client.quota() == missiond.QuotaInfo(420.0, {1: 5.0})
    assert await client.remaining(1) == 5.0


async def test_the_state_of_the_agent(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.script.manager["Degraded"] = ["no polkit"]
    async with client.keep_awake("a"):
        status = await client.status()
    battery = missiond.BatteryStatus(
        present=True, percent=87.4, on_external_power=False, low=False, critical=False
    )
    assert status == missiond.AgentStatus("1.2.3", ("no polkit",), battery, 0, 1, 0, 1)
    agent.script.manager["BatteryPercent"] = -1.0
    assert (await client.status()).battery.percent is None
    await client.reload()
    assert agent.script.calls[-1] == ("Reload",)


async def test_a_cancelled_request_leaves_no_task(agent: StandInAgent, client: missiond.Agent) -> None:
    asking = asyncio.ensure_future(client.keep_awake("a", pid=os.getpid()).__aenter__())
    await agent.until(calls=1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await agent.until(calls=2)
    assert agent.script.calls[1][0] == "StopBackgroundRunning"
    assert agent.tasks == {}


async def test_a_connection_that_closes_ends_what_was_asked_for_last(agent: StandInAgent) -> None:
    async with missiond.connect() as client:
        asking = asyncio.ensure_future(client.keep_awake("a", pid=os.getpid()).__aenter__())
        await agent.until(calls=1)
        asking.cancel()
    assert agent.tasks == {}


async def test_polkit_may_ask_where_somebody_is_there_to_be_asked(agent: StandInAgent) -> None:
    agent.script.denies = PermissionDenied("polkit denies org.missiond.Agent1.x")
    asked = []

    async def on_denial() -> bool:
        asked.append(1)
        return len(asked) > 1

    async with missiond.connect(on_denial=on_denial) as client:
        with pytest.raises(missiond.Denied):
            await client.keep_awake("a")
        assert (await client.keep_awake("a")).held
    assert len(asked) == 2
    async with missiond.connect(interactive=True) as client:
        assert (await client.keep_awake("a")).held


async def test_an_agent_that_hangs(agent: StandInAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    agent.script.hangs = True
    async with missiond.connect(timeout=0.05) as client:
        with pytest.raises(missiond.Unreachable, match="no answer") as found:
            await client.delay_sleep("a")
        assert found.value.missing is missiond.Missing.ANSWER
        assert found.value.code is None


async def test_an_agent_that_works_is_waited_for(agent: StandInAgent) -> None:
    agent.script.hangs = True
    async with missiond.connect(timeout=0.5, patience=0.05) as client:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(missiond.Unreachable, match="no answer"):
            await client.delay_sleep("a")
        assert asyncio.get_running_loop().time() - begun > 0.4


async def test_an_agent_that_is_stopped_costs_seconds(
    system_bus: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP, or an event loop that hangs: Ping is not answered either."""
    assert 2 <= missiond.connect()._bus.settings.patience <= 5
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus)
    async with stopped_agent(environment), missiond.connect(patience=0.2) as client:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(missiond.Unreachable, match="no answer") as found:
            await client.delay_sleep("a")
        assert asyncio.get_running_loop().time() - begun < 5
        assert found.value.missing is missiond.Missing.ANSWER


async def test_a_bus_that_takes_no_further_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_bus('<limit name="max_connections_per_user">1</limit>') as bus:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        first = await Connection.open(bus.address)
        with pytest.raises(missiond.Unreachable, match="takes no further connection of this user") as found:
            await missiond.connect().__aenter__()
        assert found.value.missing is missiond.Missing.CONNECTION
        await first.close()


async def test_no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "tcp:host=localhost")
    with pytest.raises(missiond.Unreachable, match="no session bus"):
        await missiond.connect(session=True).__aenter__()
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(ConnectionError) as found:
        await missiond.connect(session=True).__aenter__()
    assert isinstance(found.value, missiond.Unreachable)
    assert found.value.missing is missiond.Missing.BUS


async def test_calls_need_a_connection() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await missiond.connect().reload()


async def test_own_pid(client: missiond.Agent) -> None:
    assert await client.own_pid() == os.getpid()


def test_signatures_come_from_the_interface() -> None:
    spec = _bus.spec_of("org.missiond.Agent1.BackgroundTaskManager")
    assert spec.methods["RequestSuspendDelay"][0] == "sa{sv}"
    assert spec.options["RequestSuspendDelay"] == {"pid": "u", "delay": "u"}


async def test_nothing_is_left_behind(agent: StandInAgent, client: missiond.Agent) -> None:
    async def once() -> None:
        async with (
            missiond.connect() as other,
            other.keep_awake("a", mode="data-transfer") as task,
            other.missions.changes(),
            other.delay_sleep("b"),
        ):
            task.progress = 50

    def left() -> tuple[int, int]:
        return len([*Path("/proc/self/fd").iterdir()]), len(asyncio.all_tasks())

    await once()
    before = left()
    for _ in range(20):
        await once()
    await agent.until(tasks=0)
    await client.status()  # the stand-in has seen that all are gone
    assert left() == before


async def test_nothing_is_left_of_a_connection_that_lives_on(
    agent: StandInAgent, client: missiond.Agent
) -> None:
    for _ in range(20):
        async with client.keep_awake("a") as task, client.delay_sleep("b"), client.missions.changes():
            task.progress = 50
    connection = client._bus.connection
    assert client._events._feeds == {}
    assert client._events._early == []
    assert len(connection._rules) == 3  # of the agent's name, and of tasks
    assert len(connection._pending) <= 1
