# SPDX-License-Identifier: Apache-2.0
"""Tasks for a block of a program without an event loop, and programs that run without an agent."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import warnings
from typing import Any

import pytest

import missiond
from missiond.errors import ContinuousTaskVerificationFailed, InvalidParameter
from standins.agents.agent import StandInAgent

from .conftest import program

pytestmark = pytest.mark.slow

PROGRAM = """
import missiond

with missiond.delay_sleep("saving", at_most=5) as delay:
    print(delay.id, delay.granted, delay.remaining, delay.info().reason)
    with missiond.keep_awake("t", mode=missiond.Mode.DATA_TRANSFER) as task:
        task.progress = 40
        task.progress = 40.9
        task.update("voip")
        print(task.id, task.held, task.progress, task.info().title, flush=True)
        input()
        {}
"""


@pytest.mark.parametrize(("last", "status"), [("", 0), ("raise SystemExit(3)", 3)])
async def test_blocks(agent: StandInAgent, environment: dict[str, str], last: str, status: int) -> None:
    process = await program(environment, PROGRAM.format(last))
    await agent.until(tasks=2, calls=5)
    out, err = await process.communicate(b"\n")
    assert (process.returncode, err) == (status, b"")
    assert out == b"1 5.0 5.0 saving\n1 True 40 t\n"
    assert [call[0] for call in agent.script.calls] == [
        "RequestSuspendDelay", "GetRemainingDelayTime", "StartBackgroundRunning",
        "UpdateDataTransferProgress", "UpdateBackgroundRunning", "StopBackgroundRunning",
        "CancelSuspendDelay",
    ]  # fmt: skip


async def test_a_program_that_is_killed(agent: StandInAgent, environment: dict[str, str]) -> None:
    process = await program(environment, PROGRAM.format(""))
    await agent.until(tasks=2)
    process.kill()
    await agent.until(tasks=0)
    await process.communicate()


async def test_a_block_that_outlives_its_task(agent: StandInAgent, environment: dict[str, str]) -> None:
    process = await program(environment, PROGRAM.format(""))
    assert process.stdout is not None
    assert await process.stdout.readline()
    assert await process.stdout.readline()
    agent.end("transient", 1, "expired")
    agent.end("continuous", 1, "cancelled")
    _, err = await process.communicate(b"\n")
    assert (process.returncode, err) == (0, b"")


async def test_tasks_that_are_ended_early(agent: StandInAgent, environment: dict[str, str]) -> None:
    source = """
import missiond
with missiond.keep_awake("t") as task, missiond.delay_sleep("a") as delay:
    task.stop()
    delay.cancel()
    print(delay.remaining)
"""
    process = await program(environment, source)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"0.0\n", b"")
    assert agent.tasks == {}


async def test_an_agent_that_leaves_during_the_block(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    source = """
import missiond
with missiond.keep_awake("t", mode="data-transfer") as task, missiond.delay_sleep("a", at_most=100) as delay:
    print("begun", flush=True)
    input()
    task.progress = 7
    print(99 < delay.remaining <= 100, task.progress)
"""
    process = await program(environment, source)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    await agent.stop()
    out, err = await process.communicate(b"\n")
    assert (process.returncode, out, err) == (0, b"True 7\n", b"")


async def test_a_copy_of_the_program_leaves_the_task_alone(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    source = """
import os, missiond
parent = os.getpid()
try:
    with missiond.keep_awake("t", mode="data-transfer") as task:
        if os.fork() == 0:
            print(task.held)
            try:
                task.progress = 50
            except RuntimeError:
                print("forked", flush=True)
            raise SystemExit
        os.wait()
        task.progress = 10
        print("parent", flush=True)
        input()
finally:
    if os.getpid() != parent:
        os._exit(0)  # without a word about what the parent has open
"""
    process = await program(environment, source)
    await agent.until(tasks=1, calls=2)
    out, err = await process.communicate(b"\n")
    assert (process.returncode, out, err) == (0, b"False\nforked\nparent\n", b"")
    assert [call[0] for call in agent.script.calls] == [
        "StartBackgroundRunning", "UpdateDataTransferProgress", "StopBackgroundRunning",
    ]  # fmt: skip


async def test_a_block_of_a_thread(agent: StandInAgent) -> None:
    def block() -> bool:
        with missiond.keep_awake("t") as task:
            return task.held

    assert await asyncio.to_thread(block)
    assert agent.tasks == {}


async def test_a_block_in_a_running_loop(agent: StandInAgent) -> None:
    with pytest.raises(RuntimeError, match="async with"), missiond.delay_sleep("a"):
        pytest.fail("not to be reached")
    async with missiond.keep_awake("t") as task:
        assert task.held
        agent.end("continuous", task.id, "stopped")
        assert await task.wait() == "stopped"
    async with missiond.delay_sleep("a", at_most=5) as delay:
        assert delay.granted == 5
    assert agent.tasks == {}


async def no_agent(monkeypatch: pytest.MonkeyPatch, bus: str) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus)


def held(required: bool) -> tuple[bool, bool]:
    with (
        missiond.keep_awake("t", required=required) as task,
        missiond.delay_sleep("a", required=required) as delay,
    ):
        held = task.held, delay.held
        task.progress = 50
        task.update("voip")
        task.stop()
        delay.cancel()
        assert delay.remaining == 0
        assert (task.held, delay.held) == (False, False)
        return held


async def watched_in_vain() -> list[missiond.Event]:
    async with missiond.keep_awake("t", required=False) as task:
        task.progress = 3
        assert not task.held
        return [event async for event in task.events()]


@pytest.mark.parametrize("bus", [True, False], ids=["no agent", "no bus"])
async def test_without_an_agent(monkeypatch: pytest.MonkeyPatch, system_bus: str, bus: bool) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus if bus else "unix:path=/nonexistent")
    with pytest.raises(missiond.Unreachable, match="no agent" if bus else "no system bus"):
        await asyncio.to_thread(held, True)
    with pytest.warns(missiond.NotKeptAwake, match="nothing keeps this host awake: there is no"):
        assert await asyncio.to_thread(held, False) == (False, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said
        assert await asyncio.to_thread(held, False) == (False, False)
        assert await watched_in_vain() == []


async def test_the_warning_names_the_line_of_the_program(environment: dict[str, str]) -> None:
    source = """import missiond

with missiond.keep_awake('t', required=False):
    pass
"""
    nowhere = environment | {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    process = await program(nowhere, source, "-W", "default")
    _, err = await process.communicate()
    assert (process.returncode, err.splitlines()[0][:29]) == (0, b"<string>:3: NotKeptAwake: not")


async def test_what_is_refused_is_done_without_too(agent: StandInAgent) -> None:
    agent.script.failures["StartBackgroundRunning"] = ContinuousTaskVerificationFailed(
        "the battery is critical"
    )
    with pytest.warns(missiond.NotKeptAwake, match="critical"):
        assert await asyncio.to_thread(held, False) == (False, True)
    async with missiond.connect() as client:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            async with client.keep_awake("t", required=False) as task:
                assert not task.held
                assert await task.wait() == "lost"


async def test_a_mistake_is_never_passed_over(agent: StandInAgent) -> None:
    agent.script.failures["StartBackgroundRunning"] = InvalidParameter("no such mode")
    with pytest.raises(missiond.Invalid):
        await asyncio.to_thread(held, False)


async def test_a_program_that_is_interrupted_while_it_asks(
    agent: StandInAgent, environment: dict[str, str]
) -> None:
    agent.script.hangs = True
    process = await program(environment, PROGRAM.format(""))
    await agent.until(calls=1)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == -signal.SIGINT
    assert err.endswith(b"KeyboardInterrupt\n")
    assert agent.tasks == {}


def test_the_light_names_are_light(environment: dict[str, str]) -> None:
    code = "import sys, missiond; missiond.{}; print(sorted(name for name in sys.modules if name in {}))"
    heavy = {"asyncio", "dbus_next", "psutil", "missiond.client", "typing", "missiond.errors"}

    def loaded(name: str, of: Any = heavy) -> str:
        line = [sys.executable, "-S", "-c", code.format(name, set(of))]
        return subprocess.run(line, capture_output=True, check=True, env=environment, text=True).stdout

    assert loaded("__version__") == "[]\n"
    assert loaded("Mode", {"asyncio", "dbus_next"}) == "[]\n"
    assert loaded("NotFound", {"asyncio", "dbus_next"}) == "[]\n"
