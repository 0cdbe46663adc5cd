# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from datetime import datetime, timedelta

import pytest

from cli.conftest import MISSIONCTL, Missionctl
from missiond.errors import CallerVerificationFailed
from standins.agents.agent import StandInAgent
from standins.programs.running import running

pytestmark = pytest.mark.slow


@pytest.fixture
def missionctl(missionctl_program: Missionctl) -> Missionctl:
    """Run missionctl as a process of its own, since it becomes another or has a caller."""
    return missionctl_program


async def holding(environment: dict[str, str], *arguments: str) -> tuple[Process, str]:
    process = await asyncio.create_subprocess_exec(
        *MISSIONCTL, "hold", *arguments, env=environment, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode()


async def test_for_a_time(agent: StandInAgent, environment: dict[str, str]) -> None:
    process, line = await holding(environment, "2h", "--reason", "talk", "--mode", "voip")
    assert line == "continuous/1\n"
    [(_, modes, options)] = agent.script.calls
    assert modes == ["voip"]
    assert options.pop("context").startswith("hold-")
    assert options == {"pid": process.pid, "title": "talk", "keep-alive": "none", "time-out": 7_200_000}
    agent.end("continuous", 1, "time is over")
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 0


async def test_until_programs_end(agent: StandInAgent, environment: dict[str, str]) -> None:
    with running() as one:
        with running() as two:
            process, line = await holding(environment, "--pid", str(one), str(two))
            assert line == "continuous/1\n"
            assert {task.values["Pid"] for task in agent.tasks.values()} == {one, two}
        await agent.until(tasks=1)
        assert process.returncode is None
    assert await process.wait() == 0


async def test_until_a_time(agent: StandInAgent, environment: dict[str, str]) -> None:
    soon = datetime.now() + timedelta(hours=2)
    process, _ = await holding(environment, "--until", soon.isoformat(" ", "seconds"))
    (_, _, options) = agent.script.calls[-1]
    assert 7_190_000 < options["time-out"] <= 7_200_000
    process.send_signal(signal.SIGTERM)
    await process.communicate()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
async def test_interrupted(
    agent: StandInAgent, environment: dict[str, str], number: int, status: int
) -> None:
    process, _ = await holding(environment, "--pid", str(os.getpid()))
    process.send_signal(number)
    _, err = await process.communicate()
    assert (process.returncode, err) == (status, b"")
    await agent.until(tasks=0)


async def test_in_the_background(agent: StandInAgent, missionctl: Missionctl) -> None:
    result = await missionctl("hold", "--background", "--json", "2h", "--pid", str(os.getpid()))
    assert (result.status, json.loads(result.out)) == (0, ["continuous/1"])
    assert len(agent.tasks) == 1
    result = await missionctl("hold", "--background", "2h")
    assert result.status == 2
    assert "which called missionctl, is no shell; name one with --pid" in result.err


async def test_one_that_is_refused_ends_the_others(agent: StandInAgent, missionctl: Missionctl) -> None:
    agent.script.failures["StartBackgroundRunning"] = CallerVerificationFailed("no process 15")
    assert (await missionctl("hold", "--pid", "15")).status == 5
    for wrong in ("0.5s", "8d", "soon"):
        assert (await missionctl("hold", wrong)).status == 2
