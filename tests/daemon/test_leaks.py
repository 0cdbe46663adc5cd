# SPDX-License-Identifier: Apache-2.0
"""A thousand tasks later everything is as it was."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from missiond.bus.variants import variant
from standins.agents.process import AgentProcess
from standins.clients.agent_client import AgentClient, agent_client, options
from standins.programs.running import running
from standins.worlds.scene import Scene

pytestmark = pytest.mark.slow

IN_FLIGHT = 50
ROUNDS = 5
TASKS = 4 * IN_FLIGHT


def resident_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def open_fds(pid: int) -> int:
    """How many stay open: a look at a process of this machine has one of its own for a moment."""
    return min(len(list(Path(f"/proc/{pid}/fd").iterdir())) for _ in range(50))


async def one_round(scene: Scene, client: AgentClient, owner: int) -> None:
    """Start and end TASKS tasks, many calls at a time."""
    found: list[int] = []
    for start in range(0, TASKS, IN_FLIGHT):
        contexts = [f"{number}" for number in range(start, start + IN_FLIGHT)]
        waiting = [
            await client.start("StartBackgroundRunning", ["voip"], options(context=context, pid=owner))
            for context in contexts
        ]
        found += [(await client.answer(serial))[3] for serial in waiting]
    assert len(set(found)) == TASKS
    for start in range(0, TASKS, IN_FLIGHT):
        ended = found[start : start + IN_FLIGHT]
        waiting = [await client.start("CancelContinuousTask", task_id) for task_id in ended]
        for serial in waiting:
            await client.answer(serial)
    await scene.until_locks()
    scene.logind.close()


@pytest.mark.parametrize("helped", [True, False])
async def test_a_thousand_tasks(scene: Scene, tmp_path: Path, helped: bool) -> None:
    if not helped:
        scene.helper.vanish()
    process = AgentProcess(scene.environment, tmp_path / "log", scene.store)
    try:
        await scene.store.until("READY=1")
        with running() as owner:
            async with agent_client(scene.address) as client:
                await client.manager()
                fds = open_fds(process.pid)
                await one_round(scene, client, owner)
                resident = resident_kilobytes(process.pid)
                fds_then = open_fds(process.pid)
                for _ in range(ROUNDS - 1):
                    await one_round(scene, client, owner)
                # The counters' and the leases' directories are opened when first needed.
                assert fds_then - fds <= 3
                # each program of this machine that is watched has one, too, and some may have ended
                assert open_fds(process.pid) <= fds_then
                assert resident_kilobytes(process.pid) - resident < 2048
                assert (scene.files("continuous"), scene.store.names) == ([], [])
                assert scene.files("protection") == []
        process.send(signal.SIGTERM)
        assert await process.exited() == 0
    finally:
        process.end()


async def test_clients_that_come_and_go(agent: Scene, client: AgentClient) -> None:
    await client.request()
    await client.call("CancelSuspendDelay", 1)
    before = _fds(agent)
    for _ in range(100):
        async with agent_client(agent.address) as other:
            await other.request()
            await other.refused("StartBackgroundRunning", [], {"nonsense": variant("u", 1)})
    await client.until("SuspendDelayEnded", 101)
    await agent.store.until_names()
    await agent.until_locks()
    assert _fds(agent) == before
    assert len(client.heard("SuspendDelayEnded")) == 101


def _fds(agent: Scene) -> int:
    """How many the agent has, and what else is in this process."""
    return open_fds(os.getpid()) - len(agent.logind.locks)
