# SPDX-License-Identifier: Apache-2.0
"""logind hanging, refusing, asleep, missing; clients and owners that leave meanwhile."""

from __future__ import annotations

import asyncio
import os

import pytest

from missiond import bus_names
from missiond.daemon.tasks import inhibitors as keeper_module
from standins.clients.agent_client import AgentClient, Refused, agent_client, options
from standins.clients.other_user import other_process
from standins.open_files import open_files
from standins.worlds.scene import Scene

TRANSIENT_1 = f"{bus_names.MANAGER_PATH}/transient/1"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "PATIENCE", 0.05)


async def test_a_client_that_vanishes_while_logind_hangs_leaves_nothing(
    agent: Scene, client: AgentClient
) -> None:
    await client.request()
    await client.call("CancelSuspendDelay", 1)
    agent.logind.hanging.add("Inhibit")
    files, tasks = open_files(), asyncio.all_tasks()
    async with agent_client(agent.address) as leaving:
        await leaving.start("RequestSuspendDelay", "x", {})
        await leaving.start("StartBackgroundRunning", ["voip"], {})
        await agent.logind.until_called("Inhibit", 3)
        assert (agent.files("transient"), agent.files("continuous")) == (["2"], ["1"])
    await client.until("SuspendDelayEnded", 2, "owner-exited")
    await client.until("ContinuousTaskCancel", 1, 2)
    manager = await client.manager()
    assert (manager["TransientTasks"], manager["ContinuousTasks"]) == (0, 0)
    assert (agent.files("transient"), agent.files("continuous")) == ([], [])
    agent.logind.answer_held()
    while len(agent.logind.locks) < 3:
        await asyncio.sleep(0)
    for lock in agent.logind.locks:
        await lock.until_released()
    # The agent closes a lock before it deals with a later message.
    await client.settle()
    assert agent.store.names == []
    assert len(open_files()) - len(agent.logind.locks) == len(files) - 1
    assert {task for task in asyncio.all_tasks() - tasks if not task.done()} == set()
    assert await client.objects() == {}
    assert len(client.heard("InterfacesAdded")) == 1


async def test_no_call_waits_for_logind_once_its_owner_is_gone(agent: Scene, client: AgentClient) -> None:
    agent.logind.hanging.add("Inhibit")
    async with other_process(agent.address, os.getuid()) as (_, child):
        serial = await client.start("RequestSuspendDelay", "x", options(pid=child.pid))
        await agent.logind.until_called("Inhibit")
    with pytest.raises(Refused) as refused:
        await client.answer(serial)
    assert refused.value.code == 9900001


async def test_cancelled_by_the_user_before_the_lock_was_there(agent: Scene, client: AgentClient) -> None:
    agent.logind.hanging.add("Inhibit")
    starting = await client.start("StartBackgroundRunning", ["voip"], {})
    await agent.logind.until_called("Inhibit")
    await client.call("CancelContinuousTask", 1)
    with pytest.raises(Refused) as refused:
        await client.answer(starting)
    assert refused.value.code == 9800005
    agent.logind.answer_held()
    await client.begin("location")
    assert agent.locks == [("sleep", "continuous task 2: location")]


async def test_an_update_of_what_ends_meanwhile(agent: Scene, client: AgentClient) -> None:
    await client.begin("location")
    agent.logind.hanging.add("Inhibit")
    updating = await client.start("UpdateBackgroundRunning", ["voip"], {})
    await agent.logind.until_called("Inhibit", 2)
    await client.call("StopBackgroundRunning", {})
    with pytest.raises(Refused) as refused:
        await client.answer(updating)
    assert refused.value.code == 9800005
    agent.logind.answer_held()
    while len(agent.logind.locks) < 2:
        await asyncio.sleep(0)
    for lock in agent.logind.locks:
        await lock.until_released()


@pytest.mark.usefixtures("impatient")
async def test_logind_that_hangs_keeps_nobody_waiting(agent: Scene, client: AgentClient) -> None:
    agent.logind.hanging.add("Inhibit")
    request_id, _ = await client.request()
    assert any("does not answer" in sentence for sentence in (await client.manager())["Degraded"])
    found = await client.properties(TRANSIENT_1, bus_names.TRANSIENT_TASK)
    assert found["Locked"] is False
    agent.logind.answer_held()
    await client.until_property(TRANSIENT_1, "Locked", lambda locked: locked is True)
    assert len(agent.locks) == 1
    assert (await client.manager())["Degraded"] == []
    await client.call("CancelSuspendDelay", request_id)
    assert agent.locks == []


async def test_refused_during_sleep_and_taken_after(agent: Scene, client: AgentClient) -> None:
    await client.begin("location")
    agent.logind.prepare_for_sleep(True)
    await client.request("during")
    await client.call("UpdateBackgroundRunning", ["voip"], {})
    assert agent.locks == [("sleep", "continuous task 1: location")]
    agent.logind.prepare_for_sleep(False)
    await client.until_property(TRANSIENT_1, "Locked", lambda locked: locked is True)
    while len(agent.logind.locks) < 3:
        await client.settle()
    await agent.logind.locks[0].until_released()
    assert agent.locks == [("sleep", "transient task 1: during"), ("sleep:idle", "continuous task 1: voip")]


async def test_refused_in_part(agent: Scene, client: AgentClient) -> None:
    agent.logind.refused = {"idle"}
    await client.begin("voip")
    assert [what for what, _ in agent.locks] == ["sleep"]
    assert any("refused a lock on sleep:idle" in said for said in (await client.manager())["Degraded"])


async def test_logind_that_leaves_and_comes_back(agent: Scene, client: AgentClient) -> None:
    await client.request("before")
    await agent.logind.vanish()
    await client.until_property(
        bus_names.MANAGER_PATH, "Degraded", lambda said: any("no logind" in sentence for sentence in said)
    )
    await client.request("meanwhile")
    assert agent.locks == [("sleep", "transient task 1: before")]
    await agent.logind.appear()
    path = f"{bus_names.MANAGER_PATH}/transient/2"
    await client.until_property(path, "Locked", lambda locked: locked is True)
    assert [why for _, why in agent.locks] == ["transient task 1: before", "transient task 2: meanwhile"]
    assert (await client.manager())["Degraded"] == []


async def test_logind_that_forgot_its_locks_gets_them_again(agent: Scene, client: AgentClient) -> None:
    await client.request("one")
    await client.request("two")
    await agent.logind.vanish()
    agent.logind.close()
    await agent.logind.appear()
    await agent.store.until_names("transient-1-2", "transient-2-2")
    assert len(agent.locks) == 2


async def test_logind_that_does_not_tell_its_locks(
    agent: Scene, client: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    agent.logind.failures["ListInhibitors"] = ("org.freedesktop.DBus.Error.AccessDenied", "no")
    agent.logind.prepare_for_sleep(True)
    await client.request()
    await agent.logind.vanish()
    agent.logind.asleep = False
    await agent.logind.appear()
    await client.until_property(TRANSIENT_1, "Locked", lambda locked: locked is True)
    assert "never retrieved" not in caplog.text


async def test_nobody_to_lock_for_us_at_start(scene: Scene) -> None:
    await scene.logind.vanish()
    await scene.start()
    assert "no logind" in scene.store.status
    async with agent_client(scene.address, listening=True) as client:
        await client.request()
        await scene.logind.appear()
        await client.until_property(TRANSIENT_1, "Locked", lambda locked: locked is True)
