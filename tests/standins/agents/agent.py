# SPDX-License-Identifier: Apache-2.0
"""An agent that grants everything, or fails as it is told: it watches owners, but locks nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from missiond import bus_names
from missiond.bus.connection import Connection
from missiond.bus.interface import Call, Interface
from missiond.bus.introspection import load_specs
from missiond.bus.server import Server
from missiond.bus.variants import parse_options, unwrap, variant
from missiond.errors import CallerVerificationFailed, ContinuousTaskVerificationFailed, MissionNotFound
from missiond.host.processes.processes import ProcessWatch, inspect
from standins.agents.continuations import ContinuationsStandIn, with_continuations
from standins.agents.peers import PeersStandIn

GRANTED = 180_000
REMAINING = 161_000
QUOTA = 420_000
STARTED = 1_700_000_000_000_000
"""µs since the epoch."""


@dataclass
class Script:
    """What the agent does, and what it saw."""

    failures: dict[str, Exception] = field(default_factory=dict)
    """Method to what it raises."""
    locked: bool = True
    hangs: bool = False
    over_at_once: bool = False
    """Whether tasks are over before anybody can look."""
    waits: asyncio.Event | None = None
    """Set when a task is granted, where it is not at once."""
    stops: asyncio.Event | None = None
    """Set when a continuous task is stopped, where it is not at once."""
    denies: Exception | None = None
    """What a task is refused with, unless polkit may ask."""
    manager: dict[str, Any] = field(
        default_factory=lambda: {
            "Version": "1.2.3",
            "Degraded": [],
            "BatteryPresent": True,
            "BatteryPercent": 87.4,
            "OnExternalPower": False,
            "LowBattery": False,
            "CriticalBattery": False,
        }
    )
    of_others: list[tuple[Any, ...]] = field(default_factory=list)
    """Rows of GetMissionInfos for whoever lets polkit ask."""
    registered: list[dict[str, Any]] = field(default_factory=list)
    """Descriptions given to RegisterMission."""
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    """(method, arguments...) with plain values, and ("closed", sender) for callers that left."""


class _Task(Interface):
    def __init__(self, kind: str, values: dict[str, Any]) -> None:
        self.name = bus_names.TRANSIENT_TASK if kind == "transient" else bus_names.CONTINUOUS_TASK  # type: ignore[misc]
        self.values = values

    def properties(self) -> dict[str, Any]:
        return self.values


class _Manager(Interface):
    name = bus_names.MANAGER

    def __init__(self, agent: StandInAgent) -> None:
        self._agent = agent

    def reload(self, _call: Call) -> None:
        self._agent.note("Reload")

    def properties(self) -> dict[str, Any]:
        kinds = [kind for kind, _ in self._agent.tasks]
        counts = {
            "TransientTasks": kinds.count("transient"),
            "ContinuousTasks": kinds.count("continuous"),
            "SuspendedTasks": sum(task.values.get("Suspended", False) for task in self._agent.tasks.values()),
            "LocksHeld": len(kinds) if self._agent.script.locked else 0,
        }
        return self._agent.script.manager | counts


class _Background(Interface):
    name = bus_names.BACKGROUND_TASK_MANAGER

    def __init__(self, agent: StandInAgent) -> None:
        self._agent = agent

    async def request_suspend_delay(
        self, call: Call, reason: str, options: dict[str, Any]
    ) -> tuple[int, int]:
        chosen = parse_options(options, {"pid": "u", "delay": "u"})
        self._agent.note("RequestSuspendDelay", reason, chosen)
        granted = min(GRANTED, chosen.get("delay", GRANTED))
        values = {
            "Reason": reason,
            "ActualDelayTime": granted,
            "Remaining": min(granted, REMAINING),
            "Deadline": 0,
        }
        return await self._agent.begin("transient", call, chosen.get("pid"), values), granted

    def get_remaining_delay_time(self, _call: Call, request_id: int) -> int:
        self._agent.note("GetRemainingDelayTime", request_id)
        task = self._agent.tasks.get(("transient", request_id))
        if task is None:
            raise CallerVerificationFailed(f"no live request {request_id} of this user")
        return int(task.values["Remaining"])

    def cancel_suspend_delay(self, _call: Call, request_id: int) -> None:
        self._agent.note("CancelSuspendDelay", request_id)
        if ("transient", request_id) not in self._agent.tasks:
            raise CallerVerificationFailed(f"no live request {request_id} of this user")
        self._agent.end("transient", request_id, "cancelled")

    def get_transient_task_info(self, _call: Call) -> tuple[int, list[tuple[int, int]]]:
        self._agent.note("GetTransientTaskInfo")
        tasks = self._agent.tasks.items()
        return QUOTA, [(i, task.values["Remaining"]) for (kind, i), task in tasks if kind == "transient"]

    async def start_background_running(
        self, call: Call, bg_modes: list[str], options: dict[str, Any]
    ) -> tuple[int, int, int, int]:
        allowed = {
            "context": "s",
            "pid": "u",
            "keep-alive": "s",
            "title": "s",
            "text": "s",
            "want-agent": "a{sv}",
            "inhibit": "as",
            "time-out": "u",
        }
        chosen = parse_options(options, allowed)
        self._agent.note("StartBackgroundRunning", bg_modes, chosen)
        values = {
            "Context": chosen.get("context", ""),
            "BgModes": bg_modes,
            "KeepAlive": chosen.get("keep-alive", "protect"),
            "Title": chosen.get("title", ""),
            "Text": chosen.get("text", ""),
            "Deadline": 0,
            "Inhibit": chosen.get("inhibit", []),
            "Missing": [],
            "Check": "off",
            "NotificationId": -1,
            "Suspended": False,
            "SuspendReason": 0,
            "Restarts": 0,
            "Progress": {"title": variant("s", ""), "file-name": variant("s", ""), "value": variant("u", 40)},
        }
        return 65535, 0, -1, await self._agent.begin("continuous", call, chosen.get("pid"), values)

    def update_background_running(
        self, _call: Call, bg_modes: list[str], options: dict[str, Any]
    ) -> tuple[int, int, int, int]:
        self._agent.note("UpdateBackgroundRunning", bg_modes, unwrap(options))
        [task_id] = [number for kind, number in self._agent.tasks if kind == "continuous"]
        return 65535, 0, -1, task_id

    async def stop_background_running(self, _call: Call, options: dict[str, Any]) -> None:
        self._agent.note("StopBackgroundRunning", unwrap(options))
        if self._agent.script.stops is not None:
            await self._agent.script.stops.wait()
        context = unwrap(options).get("context", "")
        for (kind, task_id), task in list(self._agent.tasks.items()):
            if kind == "continuous" and task.values["Context"] == context:
                self._agent.end(kind, task_id, "stopped")

    def cancel_continuous_task(self, _call: Call, continuous_task_id: int) -> None:
        self._agent.note("CancelContinuousTask", continuous_task_id)
        if ("continuous", continuous_task_id) not in self._agent.tasks:
            raise ContinuousTaskVerificationFailed(f"no live continuous task {continuous_task_id}")
        self._agent.end("continuous", continuous_task_id, "cancelled")

    def get_all_continuous_tasks(self, _call: Call, include_suspended: bool) -> list[dict[str, Any]]:
        self._agent.note("GetAllContinuousTasks", include_suspended)
        return [
            {"continuous-task-id": variant("u", i)} for kind, i in self._agent.tasks if kind == "continuous"
        ]

    def update_data_transfer_progress(
        self, _call: Call, continuous_task_id: int, progress: dict[str, Any]
    ) -> None:
        self._agent.note("UpdateDataTransferProgress", continuous_task_id, unwrap(progress))
        if ("continuous", continuous_task_id) not in self._agent.tasks:
            raise ContinuousTaskVerificationFailed(f"no live continuous task {continuous_task_id}")


class _Missions(ContinuationsStandIn):
    name = bus_names.DISTRIBUTED_MISSION_MANAGER

    def __init__(self, agent: StandInAgent) -> None:
        super().__init__(agent.note, agent.server)
        self._agent = agent
        self.own: list[tuple[Any, ...]] = []
        """Rows of this host's missions."""
        self.info: dict[str, Any] = {}
        self.infos: dict[int, dict[str, Any]] | None = None
        """By id, where there is more than one; others are not there."""
        self.snapshot: dict[str, Any] = {}

    def register_mission(self, _call: Call, description: dict[str, Any]) -> int:
        if "RegisterMission" in self._agent.script.failures:
            raise self._agent.script.failures["RegisterMission"]
        self._agent.script.registered.append(unwrap(description))
        return len(self._agent.script.registered)

    def get_mission_infos(self, call: Call, device_id: str, num_max: int) -> list[Any]:
        self._agent.note("GetMissionInfos", device_id, num_max)
        if device_id:
            return self._agent.peers.missions(device_id)
        return [*self.own, *(self._agent.script.of_others if call.interactive else [])][:num_max]

    def start_sync_remote_missions(self, _call: Call, device_id: str, fix_conflict: bool, tag: int) -> None:
        self._agent.note("StartSyncRemoteMissions", device_id, fix_conflict, tag)
        self._agent.peers.synchronised.add(device_id)

    def stop_sync_remote_missions(self, _call: Call, device_id: str) -> None:
        self._agent.note("StopSyncRemoteMissions", device_id)
        self._agent.peers.synchronised.discard(device_id)

    def get_mission_info(self, _call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        self._agent.note("GetMissionInfo", device_id, mission_id)
        if self.infos is None:
            return self.info
        if mission_id not in self.infos:
            raise MissionNotFound(f"there is no mission {mission_id}")
        return self.infos[mission_id]

    def get_mission_snapshot(self, _call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        self._agent.note("GetMissionSnapshot", device_id, mission_id)
        return self.snapshot

    def provide_continue_state(self, _call: Call, continuation_id: int, agree: bool, state: bytes) -> None:
        self._agent.note("ProvideContinueState", continuation_id, agree, bytes(state))

    def provide_continue_state_file(self, call: Call, continuation_id: int, agree: bool, state: int) -> None:
        os.close(call.take_fd(state))
        self._agent.note("ProvideContinueStateFile", continuation_id, agree)

    def register_mission_listener(self, _call: Call, device_id: str) -> None:
        self._agent.note("RegisterMissionListener", device_id)

    def unregister_mission_listener(self, _call: Call, device_id: str) -> None:
        self._agent.note("UnregisterMissionListener", device_id)

    def unregister_mission(self, _call: Call, mission_id: int) -> None:
        self._agent.note("UnregisterMission", mission_id)

    def lock_mission(self, _call: Call, mission_id: int) -> None:
        self._agent.note("LockMission", mission_id)

    def unlock_mission(self, _call: Call, mission_id: int) -> None:
        self._agent.note("UnlockMission", mission_id)

    def terminate_mission(self, _call: Call, mission_id: int) -> None:
        self._agent.note("TerminateMission", mission_id)


class StandInAgent:
    """Serves the shipped XML on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self.script = Script()
        self.tasks: dict[tuple[str, int], _Task] = {}
        self._changed = asyncio.Event()
        self._ids = {"transient": 0, "continuous": 0}
        self._processes = ProcessWatch()
        self.server = self._server = Server(
            connection, with_continuations(load_specs()), bus_names.MANAGER_PATH
        )
        self.peers = PeersStandIn(self.note, self._server)
        self.continuations = _Missions(self)
        self._server.add(
            bus_names.MANAGER_PATH, _Background(self), _Manager(self), self.continuations, self.peers
        )
        self._connection = connection
        self.loop = asyncio.get_running_loop()

    async def serve(self) -> None:
        """Own the name."""
        await self._server.request_name(bus_names.BUS_NAME)

    async def stop(self) -> None:
        """Leave the bus."""
        self._processes.close()
        await self._server.drain()
        await self._connection.close()

    def note(self, method: str, *arguments: object) -> None:
        """Remember the call, and fail where the script says so."""
        self.script.calls.append((method, *arguments))
        self._changed.set()
        if method in self.script.failures:
            raise self.script.failures[method]

    async def begin(self, kind: str, call: Call, pid: int | None, values: dict[str, Any]) -> int:
        """Have a task, as the agent does: until its process exits, without `pid` until its caller leaves."""
        if self.script.hangs:
            await asyncio.Event().wait()
        if self.script.waits is not None:
            await self.script.waits.wait()
        if self.script.denies is not None and not call.interactive:
            raise self.script.denies
        caller = await call.caller()
        owner = inspect(caller.pid if pid is None else pid)
        self._ids[kind] += 1
        task_id = self._ids[kind]
        common = {
            "Id": task_id,
            "AppId": owner.app_id,
            "Uid": owner.uid,
            "Pid": owner.pid,
            "Started": STARTED,
        }
        task = _Task(kind, common | values | {"What": "sleep", "Locked": self.script.locked})
        self.tasks[kind, task_id] = task
        self._server.add(f"{bus_names.MANAGER_PATH}/{kind}/{task_id}", task)
        self._processes.watch(owner.pid, owner.start_ticks, lambda: self.end(kind, task_id, "owner-exited"))
        if pid is None:
            self._server.callers.on_vanish(caller.name, lambda: self.end(kind, task_id, "owner-exited"))
        self._changed.set()
        if self.script.over_at_once:
            self.end(kind, task_id, "expired")
        return task_id

    def end(self, kind: str, task_id: int, cause: str) -> None:
        """Have it no more."""
        if self.tasks.pop((kind, task_id), None) is None:
            return
        if kind == "transient":
            self._server.emit(
                bus_names.MANAGER_PATH, bus_names.BACKGROUND_TASK_MANAGER, "SuspendDelayEnded", task_id, cause
            )
        self._server.remove(f"{bus_names.MANAGER_PATH}/{kind}/{task_id}")
        self._changed.set()

    async def changed(self) -> None:
        """Return once something has happened."""
        self._changed.clear()
        await self._changed.wait()

    async def until(self, *, tasks: int | None = None, calls: int = 0) -> None:
        """Return once there are so many tasks, and so many calls or more were made."""
        while tasks not in (None, len(self.tasks)) or len(self.script.calls) < calls:
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def standing_in(address: str) -> AsyncIterator[StandInAgent]:
    """Run an agent on this bus for as long as the block lasts."""
    agent = StandInAgent(await Connection.open(address))
    await agent.serve()
    try:
        yield agent
    finally:
        await agent.stop()
