# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks over the bus: what is answered, what is refused."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from missiond import bus_names
from missiond.bus.variants import unwrap, variant
from missiond.core.tasks.modes import BY_ITEM
from standins.clients.agent_client import AgentClient, agent_client, options
from standins.clients.other_user import other_process
from standins.programs.running import running
from standins.worlds.scene import Scene

ROOT_RUNS = os.getuid() == 0
ORDINARY = [item for item in BY_ITEM if item != "wifiInteraction"]


def path_of(task_id: int) -> str:
    return f"{bus_names.MANAGER_PATH}/continuous/{task_id}"


async def test_start_update_stop(agent: Scene, client: AgentClient) -> None:
    answer = await client.call("StartBackgroundRunning", ["dataTransfer"], options(title="Photos"))
    assert answer == [4, 5, -1, 1]
    assert agent.locks == [("sleep", "continuous task 1: dataTransfer")]
    answer = await client.call("UpdateBackgroundRunning", ["voip", "audioPlayback", "voip"], {})
    assert answer == [65535, 0, -1, 1]
    assert agent.locks == [("sleep:idle", "continuous task 1: audioPlayback, voip")]
    await client.until_property(path_of(1), "BgModes", lambda v: v == ["audioPlayback", "voip"])
    assert await client.call("StopBackgroundRunning", {}) == []
    await client.settle()
    assert client.heard("ContinuousTaskCancel") == []
    assert client.heard("InterfacesRemoved") == [
        ("InterfacesRemoved", path_of(1), [bus_names.CONTINUOUS_TASK])
    ]
    assert (agent.locks, agent.files("continuous"), agent.store.names) == ([], [], [])


@pytest.mark.parametrize("mode", ORDINARY)
async def test_every_mode(agent: Scene, client: AgentClient, mode: str) -> None:
    await client.begin(mode)
    assert [what for what, _ in agent.locks] == ["sleep:idle" if mode == "voip" else "sleep"]


async def test_a_mode_for_root_alone(client: AgentClient, stranger: AgentClient) -> None:
    refused = await stranger.refused("StartBackgroundRunning", ["wifiInteraction"], {})
    assert (refused.name, refused.code) == ("org.missiond.Agent1.Error.NotSystemApp", 202)
    await stranger.begin("voip")
    assert (await stranger.refused("UpdateBackgroundRunning", ["voip", "wifiInteraction"], {})).code == 202
    if ROOT_RUNS:
        await client.begin("wifiInteraction")


async def test_ten_thousand_modes(agent: Scene, client: AgentClient) -> None:
    await client.call("StartBackgroundRunning", ["voip", "location"] * 5_000, {})
    assert agent.locks == [("sleep:idle", "continuous task 1: location, voip")]
    refused = await client.refused("StartBackgroundRunning", ["nonsense" * 100] * 200, options(context="b"))
    assert refused.code == 401
    assert len(refused.text) < 300
    assert (await client.refused("StartBackgroundRunning", ["x" * 100] * 10_000, {})).code == 401


@pytest.mark.parametrize("modes", [[], [""], ["Voip"], ["voip", "none"], ["8"], ["é\n\x1b"]])
async def test_modes_that_are_none(agent: Scene, client: AgentClient, modes: list[str]) -> None:
    refused = await client.refused("StartBackgroundRunning", modes, {})
    assert refused.code == 401
    assert refused.text.isprintable()
    assert agent.logind.locks == []


async def test_one_task_for_each_context(client: AgentClient) -> None:
    first = await client.begin("voip")
    assert (await client.refused("StartBackgroundRunning", ["voip"], {})).code == 9800005
    second = await client.begin("voip", context="zweiter\n\x01 é")
    assert second != first
    [found] = await client.call("GetAllContinuousTasks", True)
    assert [task["context"].value for task in found] == ["", "zweiter\n\x01 é"]
    await client.call("StopBackgroundRunning", options(context="zweiter\n\x01 é"))
    assert (await client.refused("StopBackgroundRunning", options(context="zweiter"))).code == 9800005
    assert (await client.refused("UpdateBackgroundRunning", ["voip"], options(context="x"))).code == 9800005


async def test_all_that_is_told_of_a_task(client: AgentClient) -> None:
    with running() as pid:
        task_id = await client.begin("location", "voip", pid=pid, context="c", text="t", keep_alive="none")
        [found] = await client.call("GetAllContinuousTasks", False)
        [told] = unwrap(found)
        app_id, started = told.pop("app-id"), told.pop("started")
        assert abs(started / 1e6 - time.time()) < 60
        assert told == {
            "continuous-task-id": task_id,
            "uid": os.getuid(),
            "pid": pid,
            "context": "c",
            "bg-modes": ["location", "voip"],
            "notification-id": -1,
            "suspended": False,
            "suspend-reason": 0,
            "what": "sleep:idle",
            "title": "",
            "text": "t",
            "deadline": 0,
            "inhibit": [],
            "missing": [],
            "check": "off",
        }
        found = await client.properties(path_of(task_id), bus_names.CONTINUOUS_TASK)
        assert found == {
            "Id": task_id,
            "AppId": app_id,
            "Uid": os.getuid(),
            "Pid": pid,
            "Context": "c",
            "BgModes": ["location", "voip"],
            "KeepAlive": "none",
            "Title": "",
            "Text": "t",
            "Started": started,
            "Deadline": 0,
            "Inhibit": [],
            "Missing": [],
            "Check": "off",
            "NotificationId": -1,
            "Suspended": False,
            "SuspendReason": 0,
            "Restarts": 0,
            "Progress": {"title": "", "file-name": "", "value": 0},
            "What": "sleep:idle",
            "Locked": True,
        }
    await client.until("ContinuousTaskCancel", task_id, 2)
    await client.settle()
    assert len(client.heard("ContinuousTaskCancel")) == 1


@pytest.mark.parametrize(
    "chosen",
    [
        {"contexts": variant("s", "")},
        {"delay": variant("u", 1)},
        {"context": variant("u", 1)},
        {"pid": variant("i", 1)},
        {"pid": variant("u", 0)},
        {"title": variant("as", ["x"])},
        {"text": variant("b", True)},
        {"want-agent": variant("a{ss}", {})},
        {"keep_alive": variant("s", "none")},
        {"keep-alive": variant("s", "Protect")},
        {"keep-alive": variant("s", "")},
        {"context": variant("s", "x" * 1025)},
        {"title": variant("s", "é" * 513)},
        {"text": variant("s", "x" * 200_000)},
        {"context": variant("s", "x" * 2**20)},
    ],
)
async def test_options_are_taken_strictly(agent: Scene, client: AgentClient, chosen: dict[str, Any]) -> None:
    refused = await client.refused("StartBackgroundRunning", ["voip"], chosen)
    assert refused.code == 401
    assert len(refused.text) < 400
    assert agent.logind.locks == []


async def test_options_of_update_and_stop(client: AgentClient) -> None:
    await client.begin("voip")
    for wrong in ({"title": variant("s", "x")}, {"context": variant("i", 0)}):
        assert (await client.refused("UpdateBackgroundRunning", ["voip"], wrong)).code == 401
        assert (await client.refused("StopBackgroundRunning", wrong)).code == 401
    assert (await client.refused("UpdateBackgroundRunning", [], {})).code == 401


async def test_restart_is_for_services(client: AgentClient) -> None:
    with running() as pid:
        refused = await client.refused(
            "StartBackgroundRunning", ["voip"], options(pid=pid, keep_alive="restart")
        )
    assert refused.code == 401
    assert "service" in refused.text


async def test_update_and_stop_by_pid(agent: Scene, client: AgentClient) -> None:
    with running() as pid:
        task_id = await client.begin("voip", pid=pid)
        async with agent_client(agent.address) as other:
            await other.call("UpdateBackgroundRunning", ["location"], options(pid=pid))
            assert agent.locks == [("sleep", f"continuous task {task_id}: location")]
            await other.call("StopBackgroundRunning", options(pid=pid))
        assert agent.locks == []
        assert (await client.refused("StopBackgroundRunning", options(pid=pid))).code == 9800005


async def test_the_users_own_cancel(agent: Scene, client: AgentClient) -> None:
    task_id = await client.begin("voip")
    async with agent_client(agent.address) as other:
        await other.call("CancelContinuousTask", task_id)
    await client.settle()
    assert client.heard("ContinuousTaskCancel") == [("ContinuousTaskCancel", task_id, 1)]
    assert (await client.refused("CancelContinuousTask", task_id)).code == 9800005
    assert (await client.refused("CancelContinuousTask", 0)).code == 401
    assert (await client.refused("CancelContinuousTask", 2**32 - 1)).code == 9800005


@pytest.mark.skipif(not ROOT_RUNS, reason="takes two users")
async def test_another_users_task(agent: Scene, client: AgentClient, stranger: AgentClient) -> None:
    task_id = await client.begin("dataTransfer", context="of root")
    assert (await stranger.refused("CancelContinuousTask", task_id)).code == 201
    progress = {"value": variant("u", 5)}
    assert (await stranger.refused("UpdateDataTransferProgress", task_id, progress)).code == 9800005
    assert await stranger.call("GetAllContinuousTasks", True) == [[]]
    with running() as pid:
        for member in ("StopBackgroundRunning", "UpdateBackgroundRunning"):
            modes = [["voip"]] if member.startswith("Update") else []
            assert (await stranger.refused(member, *modes, options(pid=pid))).code == 201
    agent.polkit.allowed.add("org.missiond.Agent1.manage-others")
    await stranger.call("CancelContinuousTask", task_id)
    await client.until("ContinuousTaskCancel", task_id, 1)


@pytest.mark.skipif(not ROOT_RUNS, reason="takes two users")
async def test_root_sees_and_ends_everybodys(client: AgentClient, stranger: AgentClient) -> None:
    task_id = await stranger.begin("dataTransfer")
    [[told]] = await client.call("GetAllContinuousTasks", False)
    assert told["uid"].value != 0
    await client.call("UpdateDataTransferProgress", task_id, {"value": variant("u", 5)})
    await client.call("CancelContinuousTask", task_id)


async def test_progress(agent: Scene, client: AgentClient) -> None:
    task_id = await client.begin("dataTransfer")
    progress = {"value": variant("u", 40), "file-name": variant("s", "a\nb é")}
    await client.call("UpdateDataTransferProgress", task_id, progress)
    wanted = {"title": "", "file-name": "a b é", "value": 40}
    said = wanted | {"file-name": ""}  # everybody hears signals
    await client.until_property(path_of(task_id), "Progress", lambda value: value == said)
    assert (await client.properties(path_of(task_id), bus_names.CONTINUOUS_TASK))["Progress"] == wanted
    await client.call("UpdateDataTransferProgress", task_id, {"title": variant("s", "T" * 5000)})
    found = await client.properties(path_of(task_id), bus_names.CONTINUOUS_TASK)
    assert found["Progress"]["value"] == 40
    assert len(found["Progress"]["title"]) == 1024


async def test_progress_that_is_none(client: AgentClient) -> None:
    task_id = await client.begin("dataTransfer")
    for wrong in (
        {"value": variant("u", 101)},
        {"value": variant("u", 2**32 - 1)},
        {"value": variant("i", 1)},
        {"percent": variant("u", 1)},
        {"filename": variant("s", "x")},
    ):
        assert (await client.refused("UpdateDataTransferProgress", task_id, wrong)).code == 401
    assert (await client.refused("UpdateDataTransferProgress", 0, {})).code == 401
    assert (await client.refused("UpdateDataTransferProgress", 99, {})).code == 9800005
    await client.call("UpdateBackgroundRunning", ["voip"], {})
    refused = await client.refused("UpdateDataTransferProgress", task_id, {"value": variant("u", 1)})
    assert refused.name == "org.missiond.Agent1.Error.NotificationVerificationFailed"
    assert refused.code == 9800006


async def test_it_ends_with_its_process(agent: Scene, client: AgentClient) -> None:
    async with other_process(agent.address, os.getuid()) as (owner, child):
        task_id = await owner.begin("voip")
        child.end()
        await client.until("ContinuousTaskCancel", task_id, 2)
    await client.settle()
    assert len(client.heard("ContinuousTaskCancel")) == 1
    assert (agent.locks, agent.files("continuous"), agent.store.names) == ([], [], [])


async def test_objects_come_and_go(agent: Scene, client: AgentClient) -> None:
    request_id, _ = await client.request("été")
    task_id = await client.begin("voip", title="Gespräch ☎")
    objects = await client.objects()
    transient = f"{bus_names.MANAGER_PATH}/transient/{request_id}"
    assert set(objects) == {transient, path_of(task_id)}
    assert objects[path_of(task_id)][bus_names.CONTINUOUS_TASK]["Title"] == "Gespräch ☎"
    added = client.heard("InterfacesAdded")
    assert [path for _, path, _ in added] == [transient, path_of(task_id)]
    assert added[0][2][bus_names.TRANSIENT_TASK]["Reason"] == "été"
    assert added[0][2][bus_names.TRANSIENT_TASK]["Locked"] is True
    manager = await client.manager()
    assert (manager["TransientTasks"], manager["ContinuousTasks"], manager["LocksHeld"]) == (1, 1, 2)
    await client.call("CancelSuspendDelay", request_id)
    await client.call("StopBackgroundRunning", {})
    await client.settle()
    assert await client.objects() == {}
    removed = [path for _, path, _ in client.heard("InterfacesRemoved")]
    assert removed == [transient, path_of(task_id)]
    refused = await client.refused(
        "GetAll", bus_names.TRANSIENT_TASK, path=transient, interface="org.freedesktop.DBus.Properties",
        signature="s",
    )  # fmt: skip
    assert refused.name == "org.freedesktop.DBus.Error.UnknownObject"


async def test_the_limits_of_user_and_host(agent: Scene, client: AgentClient, stranger: AgentClient) -> None:
    agent.configure("[Continuous]\nMaxTasksPerUser=2\n[Limits]\nMaxTasks=3\n")
    await agent.stop()
    await agent.start()
    for context in "ab":
        await stranger.begin("voip", context=context)
    refused = await stranger.refused("StartBackgroundRunning", ["voip"], options(context="c"))
    assert refused.code == 9800005
    await stranger.request()
    refused = await stranger.refused("RequestSuspendDelay", "x", {})
    assert (refused.name, refused.code) == ("org.missiond.Agent1.Error.MemoryFailed", 9800001)
    await stranger.call("StopBackgroundRunning", options(context="a"))
    await stranger.request()


async def test_too_many_calls_at_a_time(agent: Scene, client: AgentClient) -> None:
    agent.configure("[Limits]\nCallsInFlight=3\n")
    if ROOT_RUNS:
        await client.call("Reload", interface=bus_names.MANAGER)
    else:
        await agent.stop()
        await agent.start()
    await client.call("GetTransientTaskInfo")
    agent.logind.hanging.add("Inhibit")
    waiting = [
        await client.start("StartBackgroundRunning", ["voip"], options(context=str(number)))
        for number in range(3)
    ]
    refused = await client.refused("GetTransientTaskInfo")
    assert (refused.name, refused.code) == ("org.missiond.Agent1.Error.TransactionFailed", 9800003)
    agent.logind.answer_held()
    for serial in waiting:
        await client.answer(serial)
    assert len(agent.locks) == 3
