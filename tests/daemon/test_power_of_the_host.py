# SPDX-License-Identifier: Apache-2.0
"""The battery, from its files to the tasks."""

from __future__ import annotations

import pytest

from missiond import bus_names
from missiond.bus.variants import unwrap
from missiond.core.power import believed, level
from missiond.daemon import power_watch
from missiond.daemon.tasks.continuous import CRITICAL
from standins.clients.agent_client import AgentClient, agent_client, options
from standins.programs.running import running
from standins.worlds.scene import Scene

pytestmark = pytest.mark.usefixtures("quick_looks")


async def until_suspended(client: AgentClient, task_id: int) -> None:
    await client.until("ContinuousTaskSuspend", task_id, 32, CRITICAL)


async def drain(agent: Scene, percent: object, status: str = "Discharging") -> None:
    agent.supplies.battery(capacity=percent, status=status)
    agent.monitor.tell()


async def test_a_host_without_a_battery(client: AgentClient) -> None:
    found = await client.manager()
    assert found["BatteryPresent"] is False
    assert found["BatteryPercent"] == -1
    assert found["OnExternalPower"] is True
    assert found["LowBattery"] is False
    assert found["CriticalBattery"] is False


async def test_low_cuts_and_critical_ends_or_suspends(agent: Scene, client: AgentClient) -> None:
    await drain(agent, 50)
    await client.until_property(bus_names.MANAGER_PATH, "BatteryPercent", lambda value: value == 50)
    first, delay = await client.request()
    task_id = await client.begin("voip")
    assert delay == 180_000
    await drain(agent, 20)
    path = f"{bus_names.MANAGER_PATH}/transient/{first}"
    await client.until_property(path, "ActualDelayTime", lambda value: value == 60_000)
    await client.until_property(bus_names.MANAGER_PATH, "LowBattery", lambda low: low is True)
    assert (await client.manager())["CriticalBattery"] is False
    assert (await client.request())[1] == 60_000
    await drain(agent, 5)
    await client.until_property(bus_names.MANAGER_PATH, "CriticalBattery", lambda critical: critical is True)
    assert (await client.manager())["LowBattery"] is True
    await until_suspended(client, task_id)
    await client.settle()
    assert client.heard("SuspendDelayEnded") == [
        ("SuspendDelayEnded", first, "battery-critical"),
        ("SuspendDelayEnded", first + 1, "battery-critical"),
    ]
    assert client.heard("ContinuousTaskCancel") == []
    assert (agent.locks, agent.files("transient"), agent.files("continuous")) == ([], [], [str(task_id)])
    assert (await client.refused("RequestSuspendDelay", "x", {})).code == 9900002
    assert (await client.refused("StartBackgroundRunning", ["voip"], {})).code == 9800005
    await drain(agent, 5, "Charging")
    await client.until_property(bus_names.MANAGER_PATH, "CriticalBattery", lambda critical: critical is False)
    await client.until_property(bus_names.MANAGER_PATH, "LowBattery", lambda low: low is False)
    await client.until("ContinuousTaskActive", task_id)
    assert len(agent.locks) == 1
    await client.request()


async def test_a_suspended_task_is_kept_in_all_but_its_lock(agent: Scene, client: AgentClient) -> None:
    await drain(agent, 50)
    with running() as pid:
        kept = await client.begin("voip", pid=pid)
        ended = await client.begin("location", context="cancelled")
        await client.begin("location", context="stopped")
        await drain(agent, 5)
        await until_suspended(client, kept)
        assert (await client.call("GetAllContinuousTasks", False)) == [[]]
        [found] = await client.call("GetAllContinuousTasks", True)
        told = [(task["continuous-task-id"], task["suspend-reason"]) for task in unwrap(found)]
        assert told == [(kept, 32), (kept + 1, 32), (kept + 2, 32)]
        assert (await client.manager())["SuspendedTasks"] == 3
        await client.call("UpdateBackgroundRunning", ["audioPlayback"], options(pid=pid))
        assert agent.locks == []
        assert (await client.refused("StartBackgroundRunning", ["voip"], options(pid=pid))).code == 9800005
        await client.call("CancelContinuousTask", ended)
        await client.call("StopBackgroundRunning", options(context="stopped"))
        await client.until("ContinuousTaskCancel", ended, 1)
        assert (await client.manager())["ContinuousTasks"] == 1
    await client.until("ContinuousTaskCancel", kept, 2)
    await drain(agent, 50)
    await client.until_property(bus_names.MANAGER_PATH, "LowBattery", lambda low: low is False)
    await client.settle()
    assert client.heard("ContinuousTaskActive") == []
    assert agent.locks == []


async def test_what_was_updated_meanwhile_is_locked_later(agent: Scene, client: AgentClient) -> None:
    await drain(agent, 50)
    task_id = await client.begin("voip")
    await drain(agent, 4)
    await until_suspended(client, task_id)
    await client.call("UpdateBackgroundRunning", ["dataTransfer"], {})
    await drain(agent, 8)
    await client.until("ContinuousTaskActive", task_id)
    assert [what for what, _ in agent.locks] == ["sleep"]


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


async def test_one_look_that_tells_nothing_ends_nothing(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(believed, "CONFIRM", 5_000)
    monkeypatch.setattr(level, "CONFIRM", 5_000)
    await drain(agent, 80)
    await client.until_property(bus_names.MANAGER_PATH, "BatteryPercent", lambda value: value == 80)
    request_id, _ = await client.request()
    await client.begin("voip")
    for percent, status in ((0, "Unknown"), (3, "Discharging"), ("full", "Discharging")):
        await drain(agent, percent, status)
        assert (await client.manager())["BatteryPercent"] == 80
        await drain(agent, 80)
    agent.supplies.remove("BAT0")
    agent.monitor.tell()
    assert (await client.manager())["BatteryPresent"] is True
    await drain(agent, 80)
    await client.call("CancelSuspendDelay", request_id)
    assert client.heard("ContinuousTaskSuspend") == []
    assert len(agent.locks) == 1


async def test_a_driver_that_tells_of_nothing(
    agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power_watch, "POLL", 1_000)
    monkeypatch.setattr(power_watch, "SLACK", 100)
    monkeypatch.setattr(power_watch, "STALE", 0)
    await drain(agent, 50)
    await client.until_property(bus_names.MANAGER_PATH, "BatteryPercent", lambda value: value == 50)
    task_id = await client.begin("voip")
    agent.supplies.battery(capacity=3)
    await until_suspended(client, task_id)
    assert agent.locks == []
    agent.supplies.battery(capacity=40)
    await client.until("ContinuousTaskActive", task_id)
    assert len(agent.locks) == 1
    agent.supplies.battery(capacity=39)
    assert (await client.manager())["BatteryPercent"] == 39


async def test_a_charger_that_is_too_weak(agent: Scene, client: AgentClient) -> None:
    agent.supplies.mains(online=1)
    await drain(agent, 50)
    await client.until_property(bus_names.MANAGER_PATH, "BatteryPercent", lambda value: value == 50)
    task_id = await client.begin("voip")
    await drain(agent, 4)
    await until_suspended(client, task_id)
    found = await client.manager()
    assert (found["OnExternalPower"], found["LowBattery"]) == (True, True)
    assert (await client.refused("RequestSuspendDelay", "x", {})).code == 9900002
    wanted = "STATUS=0 transient tasks, 1 continuous task (1 suspended), 0 locks held; "
    await agent.store.until(wanted + "4 %, on external power, critical; peers: off")


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
        scene.store.flush()
        for name in scene.store.names:
            scene.store._remove(name)  # no run in this process gets them
        scene.supplies.battery(capacity=3)
        await client.listen()
        await scene.start()
        await until_suspended(client, task_id)
        await client.until("SuspendDelayEnded", 1, "battery-critical")
        assert (scene.files("transient"), scene.files("continuous")) == ([], [str(task_id)])
        await scene.stop()
        taken = len(scene.logind.locks)
        await scene.start()
        assert len(scene.logind.locks) == taken
        await scene.stop()
        scene.supplies.battery(capacity=7)  # under the threshold and its hysteresis
        await scene.start()
        assert len(scene.logind.locks) == taken
        assert (await client.manager())["SuspendedTasks"] == 1
        await drain(scene, 3, "Charging")
        await client.until("ContinuousTaskActive", task_id)
        assert len(scene.locks) == 1
