# SPDX-License-Identifier: Apache-2.0
"""The battery, from its files to the tasks."""

from __future__ import annotations

from missiond.service import names
from standins.agent_client import AgentClient, agent_client
from standins.agent_scene import Scene


async def drain(agent: Scene, percent: object, status: str = "Discharging") -> None:
    agent.supplies.battery(capacity=percent, status=status)
    agent.monitor.tell()


async def test_a_host_without_a_battery(client: AgentClient) -> None:
    found = await client.manager()
    assert found["BatteryPresent"] is False
    assert found["BatteryPercent"] == -1
    assert found["OnExternalPower"] is True
    assert found["LowBattery"] is False


async def test_low_cuts_and_critical_ends(agent: Scene, client: AgentClient) -> None:
    await drain(agent, 50)
    await client.until_property(names.MANAGER_PATH, "BatteryPercent", lambda value: value == 50)
    first, delay = await client.request()
    task_id = await client.begin("voip")
    assert delay == 180_000
    await drain(agent, 20)
    path = f"{names.MANAGER_PATH}/transient/{first}"
    await client.until_property(path, "ActualDelayTime", lambda value: value == 60_000)
    await client.until_property(names.MANAGER_PATH, "LowBattery", lambda low: low is True)
    assert (await client.request())[1] == 60_000
    await drain(agent, 5)
    await client.until("ContinuousTaskCancel", task_id, 2)
    await client.settle()
    assert client.heard("SuspendDelayEnded") == [
        ("SuspendDelayEnded", first, "battery-critical"),
        ("SuspendDelayEnded", first + 1, "battery-critical"),
    ]
    assert len(client.heard("ContinuousTaskCancel")) == 1
    assert (agent.locks, agent.files("transient"), agent.files("continuous")) == ([], [], [])
    assert (await client.refused("RequestSuspendDelay", "x", {})).code == 9900002
    assert (await client.refused("StartBackgroundRunning", ["voip"], {})).code == 9800005
    await drain(agent, 5, "Charging")
    await client.until_property(names.MANAGER_PATH, "LowBattery", lambda low: low is False)
    await client.request()


async def test_the_end_of_a_request_that_was_cut(agent: Scene, client: AgentClient) -> None:
    agent.configure("[Transient]\nLowBatteryMaxDelay=1s\nWarningTime=100ms\n")
    await agent.stop()
    await agent.start()
    async with agent_client(agent.address, listening=True) as listener:
        await drain(agent, 50)
        request_id, _ = await listener.request()
        await drain(agent, 15)
        await listener.until("SuspendDelayEnded", request_id, "battery-low")
        assert len(listener.heard("SuspendDelayExpiring")) == 1


async def test_files_that_make_no_sense(agent: Scene, client: AgentClient) -> None:
    for nonsense in (b"\xff\xfe", "", -3, 10**30, "full"):
        await drain(agent, nonsense)
        found = await client.manager()
        assert (await client.request())[1] <= 180_000
        assert found["BatteryPercent"] in (-1.0, 100.0)
        quota, live = await client.call("GetTransientTaskInfo")
        assert quota > 0
        for request_id, _ in live:
            await client.call("CancelSuspendDelay", request_id)


async def test_critical_from_the_start(scene: Scene) -> None:
    await scene.start()
    async with agent_client(scene.address) as client:
        await client.request()
        task_id = await client.begin("voip", pid=client.pid)
        await scene.stop()
        scene.supplies.battery(capacity=3)
        await client.listen()
        await scene.start()
        await client.until("ContinuousTaskCancel", task_id, 2)
        await client.until("SuspendDelayEnded", 1, "battery-critical")
    assert (scene.files("transient"), scene.files("continuous")) == ([], [])
