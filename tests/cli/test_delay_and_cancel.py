# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process

import pytest

import missiond
from standins.agents.agent import StandInAgent
from standins.programs.running import running

from .conftest import MISSIONCTL, Missionctl


async def test_delay_is_for_the_caller(agent: StandInAgent, missionctl_program: Missionctl) -> None:
    result = await missionctl_program("delay", "--for", "2min", "--reason", "saving")
    assert (result.status, result.out) == (0, "transient/1 2min\n")
    assert agent.script.calls == [("RequestSuspendDelay", "saving", {"pid": os.getpid(), "delay": 120_000})]
    assert len(agent.tasks) == 1


@pytest.mark.slow
async def test_the_time_may_be_several_words(agent: StandInAgent, missionctl_program: Missionctl) -> None:
    with running() as pid:
        assert (await missionctl_program("delay", "1min", "30s", "--pid", str(pid))).status == 0
        assert (
            await missionctl_program("hold", "1h", "30min", "--pid", str(pid), "--background")
        ).status == 0
    assert [call[-1].get("delay", call[-1].get("time-out")) for call in agent.script.calls] == [
        90_000, 5_400_000,
    ]  # fmt: skip
    result = await missionctl_program("hold", "1h", "x")
    assert (result.status, "argument TIME: '1h x'" in result.err) == (2, True)
    assert (await missionctl_program("hold", "1h", "--until", "18:30")).status == 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dataTransfer", "data-transfer"])
async def test_modes_as_python_programs_name_them(
    agent: StandInAgent, missionctl_program: Missionctl, mode: str
) -> None:
    with running() as pid:
        assert (
            await missionctl_program("hold", "--mode", mode, "--pid", str(pid), "--background")
        ).status == 0
    assert agent.script.calls[0][1] == ["dataTransfer"]


async def test_delay_for_another_process(agent: StandInAgent, missionctl: Missionctl) -> None:
    with running() as pid:
        result = await missionctl("delay", "--pid", str(pid), "--json")
        assert json.loads(result.out) == {"task": "transient/1", "id": 1, "granted_ms": 180_000, "pid": pid}
        assert agent.script.calls == [("RequestSuspendDelay", "missionctl delay", {"pid": pid})]
    await agent.until(tasks=0)


async def wait(environment: dict[str, str], *arguments: str) -> tuple[Process, str]:
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL, "delay", "--wait", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cause", "status"), [("expired", 0), ("cancelled", 0), ("battery-low", 6), ("battery-critical", 6)]
)
async def test_waiting_for_the_end(
    agent: StandInAgent, environment: dict[str, str], cause: str, status: int
) -> None:
    process, line = await wait(environment)
    assert line == "transient/1 3min\n"
    assert agent.script.calls == [("RequestSuspendDelay", "missionctl delay", {})]
    assert agent.tasks["transient", 1].values["Pid"] == process.pid
    agent.end("transient", 1, cause)
    out, err = await process.communicate()
    assert (process.returncode, out.decode(), err) == (status, f"transient/1 ended: {cause}\n", b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
@pytest.mark.parametrize("for_another", [False, True])
async def test_interrupted_waiting_ends_the_task(
    agent: StandInAgent, environment: dict[str, str], number: int, status: int, for_another: bool
) -> None:
    process, _ = await wait(environment, *(["--pid", str(os.getpid())] if for_another else []))
    process.send_signal(number)
    _, err = await process.communicate()
    assert (process.returncode, err) == (status, b"")
    await agent.until(tasks=0)


async def test_killed_waiting_ends_the_task(agent: StandInAgent, environment: dict[str, str]) -> None:
    process, _ = await wait(environment)
    process.kill()
    await process.communicate()
    await agent.until(tasks=0)


async def test_a_bus_that_goes_ends_the_waiting(
    agent: StandInAgent, environment: dict[str, str], private_bus: object
) -> None:
    process, _ = await wait(environment)
    private_bus.stop()  # type: ignore[attr-defined]
    _, err = await process.communicate()
    assert process.returncode == 3
    assert err.decode().startswith("missionctl: the system bus is gone")


async def test_cancel(agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent) -> None:
    await client.delay_sleep("a")
    await client.delay_sleep("b")
    await client.keep_awake(mode="voip")
    agent.script.calls.clear()
    result = await missionctl("cancel", "2", "transient/1", "continuous/1")
    assert (result.status, result.out, result.err) == (0, "", "")
    assert agent.script.calls == [
        ("CancelSuspendDelay", 2),
        ("CancelSuspendDelay", 1),
        ("CancelContinuousTask", 1),
    ]


async def test_cancel_what_could_be_two(
    agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent
) -> None:
    await client.delay_sleep("a")
    await client.keep_awake(mode="voip")
    result = await missionctl("cancel", "1")
    assert (result.status, len(agent.tasks)) == (2, 2)
    assert result.err == "missionctl: there are two tasks 1; say transient/1 or continuous/1\n"


@pytest.mark.parametrize("name", ["7", "transient/7", "continuous/7"])
async def test_cancel_what_is_not_there(
    agent: StandInAgent, missionctl: Missionctl, client: missiond.Agent, name: str
) -> None:
    await client.delay_sleep("a")
    result = await missionctl("cancel", "1", name)
    assert result.status == 5
    assert result.err == f"missionctl: there is no task {name}; see `missionctl tasks --all`\n"
    assert len(agent.tasks) == 1
