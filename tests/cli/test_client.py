# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from missiond.blocking import suspend_delay
from missiond.client import AgentUnreachable, BackgroundMode, Client
from missiond.errors import CallerVerificationFailed, InvalidParameter
from standins.agent import StandInAgent


async def test_every_method(agent: StandInAgent, client: Client) -> None:
    assert await client.request_suspend_delay("a", pid=os.getpid(), delay=5000) == (1, 5000)
    assert await client.get_remaining_delay_time(1) == 5000
    assert await client.get_transient_task_info() == (420_000, [(1, 5000)])
    await client.cancel_suspend_delay(1)
    started = await client.start_background_running(
        [BackgroundMode.VOIP, "location"],
        context="c",
        keep_alive="none",
        title="t",
        text="x",
        pid=os.getpid(),
        want_agent={},
    )
    assert started.continuous_task_id == 1
    assert (
        await client.update_background_running([BackgroundMode.DATA_TRANSFER], context="c")
    ).notification_id == -1
    assert await client.get_all_continuous_tasks(include_suspended=True) == [{"continuous-task-id": 1}]
    await client.update_data_transfer_progress(1, title="t", file_name="f", value=50)
    await client.stop_background_running(context="c", pid=1)
    await client.start_background_running(["voip"])
    await client.cancel_continuous_task(2)
    await client.reload()
    assert [call[0] for call in agent.script.calls] == [
        "RequestSuspendDelay",
        "GetRemainingDelayTime",
        "GetTransientTaskInfo",
        "CancelSuspendDelay",
        "StartBackgroundRunning",
        "UpdateBackgroundRunning",
        "GetAllContinuousTasks",
        "UpdateDataTransferProgress",
        "StopBackgroundRunning",
        "StartBackgroundRunning",
        "CancelContinuousTask",
        "Reload",
    ]
    given = agent.script.calls[4][2]
    assert given == {
        "context": "c", "keep-alive": "none", "title": "t", "text": "x", "pid": os.getpid(), "want-agent": {},
    }  # fmt: skip
    assert agent.script.calls[7] == (
        "UpdateDataTransferProgress", 1, {"title": "t", "file-name": "f", "value": 50},
    )  # fmt: skip


async def test_tasks_end_with_the_client(agent: StandInAgent) -> None:
    async with Client() as client:
        await client.request_suspend_delay("a")
        assert len(agent.tasks) == 1
    await agent.until(tasks=0)


async def test_errors_are_the_agents(agent: StandInAgent, client: Client) -> None:
    agent.script.failures["StartBackgroundRunning"] = InvalidParameter("no such mode")
    with pytest.raises(InvalidParameter, match=r"^401: no such mode$"):
        await client.start_background_running(["walking"])
    with pytest.raises(CallerVerificationFailed):
        await client.cancel_suspend_delay(9)


async def test_signals_from_the_moment_of_asking(agent: StandInAgent, client: Client) -> None:
    async with client.signals("SuspendDelayEnded") as ended:
        await client.request_suspend_delay("a")
        await client.cancel_suspend_delay(1)
        assert await anext(ended) == (1, "cancelled")
        async with asyncio.timeout(5):
            waiting = asyncio.ensure_future(anext(ended))
            await client.request_suspend_delay("b")
            await client.cancel_suspend_delay(2)
            assert await waiting == (2, "cancelled")


async def test_a_bus_that_goes(agent: StandInAgent, client: Client, private_bus: object) -> None:
    async with client.signals("SuspendDelayExpiring") as expiring:
        private_bus.stop()  # type: ignore[attr-defined]
        with pytest.raises(AgentUnreachable):
            await anext(expiring)
    with pytest.raises(AgentUnreachable):
        await client.reload()


async def test_no_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "tcp:host=localhost")
    with pytest.raises(AgentUnreachable, match="no session bus"):
        await Client(session=True).__aenter__()
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(AgentUnreachable):
        await Client(session=True).__aenter__()


async def test_an_agent_that_hangs(
    agent: StandInAgent, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("missiond.client.TIMEOUT", 0.05)
    agent.script.hangs = True
    with pytest.raises(AgentUnreachable, match="no answer"):
        await client.request_suspend_delay("a")


async def test_calls_need_a_connection() -> None:
    with pytest.raises(RuntimeError, match="enter the Client"):
        await Client().reload()


PROGRAM = """
from missiond.blocking import BackgroundMode, background_running, suspend_delay

with suspend_delay("saving", delay=5000) as granted:
    print(granted.request_id, granted.actual_delay_time)
    with background_running([BackgroundMode.VOIP], context="c", title="t") as task:
        print(task.continuous_task_id, flush=True)
        input()
        {}
"""


async def program(environment: dict[str, str], last: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", PROGRAM.format(last),
        stdin=pipe, stdout=pipe, stderr=pipe, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize(("last", "status"), [("", 0), ("raise SystemExit(3)", 3)])
async def test_blocks(agent: StandInAgent, environment: dict[str, str], last: str, status: int) -> None:
    process = await program(environment, last)
    await agent.until(tasks=2)
    out, err = await process.communicate(b"\n")
    assert (process.returncode, out, err) == (status, b"1 5000\n1\n", b"")
    assert agent.script.calls[2] == ("StopBackgroundRunning", {"context": "c"})
    assert [call[0] for call in agent.script.calls] == [
        "RequestSuspendDelay", "StartBackgroundRunning", "StopBackgroundRunning", "CancelSuspendDelay",
    ]  # fmt: skip


async def test_blocks_of_a_program_that_is_killed(agent: StandInAgent, environment: dict[str, str]) -> None:
    process = await program(environment, "")
    await agent.until(tasks=2)
    process.kill()
    await agent.until(tasks=0)
    await process.communicate()


async def test_a_block_that_outlives_its_task(agent: StandInAgent, environment: dict[str, str]) -> None:
    process = await program(environment, "")
    await agent.until(tasks=2)
    agent.end("transient", 1, "expired")
    agent.end("continuous", 1, "cancelled")
    _, err = await process.communicate(b"\n")
    assert (process.returncode, err) == (0, b"")


async def test_a_block_without_an_agent(system_bus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus)

    def block() -> None:
        with suspend_delay("a"):
            pytest.fail("not to be reached")

    with pytest.raises(AgentUnreachable, match="no agent"):
        await asyncio.to_thread(block)


async def test_a_block_in_a_running_loop(agent: StandInAgent) -> None:
    with pytest.raises(RuntimeError, match=r"missiond\.client"), suspend_delay("a"):
        pytest.fail("not to be reached")


def test_missionctl_starts_without_what_it_does_not_need(environment: dict[str, str]) -> None:
    code = (
        "import sys; from missiond.cli.parser import parse; parse(['run', 'x'])\n"
        "print(sorted({'asyncio', 'dbus_next', 'dbus_fast', 'psutil', 'pyudev'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
    assert done.stdout == b"[]\n"
