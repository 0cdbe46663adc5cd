# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks that go along with a mission: read at one host, held and adopted at the other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from missiond.core.missions.missions import Leader, Mission
from missiond.core.tasks.modes import BackgroundMode
from missiond.daemon.handover.moved_tasks import MovedTasks, parse
from missiond.daemon.tasks.continuous import CAME_ALONG, TaskRequest
from missiond.errors import AgentError, InvalidParameter
from standins.clients.agent_client import AgentClient
from standins.worlds.scene import Scene

TRANSFER = "e" * 32


@pytest.fixture
def pids() -> Iterator[list[int]]:
    """Two programs: here, and there."""
    programs = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield [program.pid for program in programs]
    for program in programs:
        program.kill()
        program.wait(10)


@pytest.fixture
def carried(agent: Scene) -> MovedTasks:
    app = agent.app
    assert app is not None

    async def may_lock(item: str) -> bool:
        return item == "handle-lid-switch"

    return MovedTasks(app.running, app.keeper, app.owners, lambda _seen: ([], None), may_lock)


def mission(pid: int) -> Mission:
    return cast("Mission", SimpleNamespace(seen=SimpleNamespace(leader=Leader(pid, 7))))


async def test_there_and_as_it_was(
    agent: Scene, client: AgentClient, carried: MovedTasks, pids: list[int]
) -> None:
    app = agent.app
    assert app is not None
    options = {"title": "photos", "text": "to nas", "context": "copy", "keep-alive": "none"}
    agent.polkit.allowed |= {
        f"{name}.inhibit-handle-lid-switch" for name in ("org.freedesktop.login1", "org.missiond.Agent1")
    }
    await client.begin(
        "voip", "location", pid=pids[0], inhibit=["handle-lid-switch"], **options, **{"time-out": 60_000}
    )
    tasks = parse({"tasks": carried.of(mission(pids[0]))})
    assert carried.of(mission(pids[1])) == []
    [task] = tasks
    assert task.modes == (BackgroundMode.LOCATION, BackgroundMode.VOIP)
    assert (task.wish.title, task.wish.text) == ("photos", "to nas")
    assert (task.wish.context, task.wish.keep_alive) == ("copy", "none")
    assert (task.wish.inhibit, 50_000 < (task.wish.time_out or 0) <= 60_000) == (("handle-lid-switch",), True)
    app.running.cancel(next(iter(app.running.tasks)))

    await carried.hold(TRANSFER, tasks, os.getuid(), "sleep")
    assert app.keeper.count == 1
    assert await carried.adopt(tasks, pids[1]) == []
    carried.release(TRANSFER)
    carried.release(TRANSFER)
    assert app.keeper.count == 1
    [live] = app.running.tasks
    assert (live.owner.pid, live.context, live.title, live.text) == (pids[1], "copy", "photos", "to nas")
    assert await carried.adopt(tasks, pids[1]) == [], "once more, after a crash"
    assert len(app.running.tasks) == 1

    await client.begin("voip", pid=pids[1], context="copy")
    [own] = app.running.tasks
    assert (own.requester.app_id != CAME_ALONG, own.id != live.id, app.keeper.count) == (True, True, 1)


async def test_what_is_refused(agent: Scene, carried: MovedTasks, pids: list[int]) -> None:
    app = agent.app
    assert app is not None
    wifi, other = parse(
        {"tasks": [{"modes": ["wifiInteraction"]}, {"modes": ["voip"], "keep-alive": "restart"}]}
    )
    [sentence] = await carried.refused([wifi, other], 1000, "x")
    assert "wifiInteraction is for" in sentence
    [shut] = parse({"tasks": [{"modes": ["voip"], "context": "s", "inhibit": ["shutdown"]}]})
    assert await carried.refused([shut], 1000, "x") == [
        "voip: polkit does not let the agent lock shutdown there"
    ]
    assert await carried.adopt([shut], pids[0]) == ["voip: polkit does not let the agent lock shutdown there"]
    [live] = app.running.tasks
    assert live.inhibit == ()
    app.running.cancel(live)
    await carried.hold(TRANSFER, [wifi], 1000, "x")
    assert app.keeper.count == 0
    assert await carried.adopt([other], pids[1]) == ["voip: keep-alive restart is not to be had there"]
    [live] = app.running.tasks
    assert live.keep_alive == "protect"
    [gone] = await carried.adopt([other], 2**22 - 1)
    assert "no process" in gone


@pytest.mark.parametrize(
    "tasks",
    [
        {}, [{}], [1], [{"modes": []}], [{"modes": ["x"]}], [{"modes": "voip"}], [{"modes": ["voip"]}] * 65,
        [{"modes": ["voip"], "title": 1}], [{"modes": ["voip"], "keep-alive": 1}],
        [{"modes": ["voip"], "inhibit": [1]}], [{"modes": ["voip"], "inhibit": ["x"]}],
        [{"modes": ["voip"], "time-out": "1"}],
    ],
)  # fmt: skip
def test_what_makes_no_sense(tasks: Any) -> None:
    with pytest.raises((InvalidParameter, AgentError)):
        parse({"tasks": tasks})
    assert parse({}) == []
    assert parse({"tasks": [{"modes": ["voip"]}]})[0].wish == TaskRequest()
