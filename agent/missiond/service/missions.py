# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.DistributedMissionManager: missions here, and the way to missions elsewhere."""

from __future__ import annotations

from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Interface
from missiond.bus.variants import parse_options
from missiond.core.missions.missions import Mission, Row, sees
from missiond.daemon.authority import Action, Authority
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.snapshots import Snapshots
from missiond.daemon.missions.terminate import Termination
from missiond.daemon.tasks.owners import Owners
from missiond.errors import InvalidParameter
from missiond.service import mission_details
from missiond.service.continuations import Continuations
from missiond.service.mission_signals import MissionAnnouncer
from missiond.service.registration import REGISTRATION, registration_of
from missiond.service.remote_missions import RemoteMissions


class DistributedMissionManager(Interface):
    """Face of missions: a user sees the own ones, uid 0 all; others' take manage-others."""

    name = bus_names.DISTRIBUTED_MISSION_MANAGER

    def __init__(
        self,
        missions: MissionRegistry,
        snapshots: Snapshots,
        termination: Termination,
        owners: Owners,
        authority: Authority,
        announcer: MissionAnnouncer,
        remote: RemoteMissions,
        continuing: Continuations,
    ) -> None:
        self.parts = (remote, continuing)
        self._missions = missions
        self._snapshots = snapshots
        self._termination = termination
        self._owners = owners
        self._authority = authority
        self._announcer = announcer
        self._remote = remote

    async def register_mission_listener(self, call: Call, device_id: str) -> None:
        """Send MissionsChanged and SnapshotChanged to the caller from now on; again is no error."""
        if device_id:
            await self._remote.listen(call, device_id)
            return
        caller = await call.caller()
        self._announcer.listen(caller.name, caller.uid)

    async def unregister_mission_listener(self, call: Call, device_id: str) -> None:
        """End MissionsChanged and SnapshotChanged to the caller; again is no error."""
        if device_id:
            await self._remote.unlisten(call, device_id)
            return
        self._announcer.unlisten((await call.caller()).name)

    async def get_mission_infos(self, call: Call, device_id: str, num_max: int) -> list[Row]:
        """At most so many missions, by id."""
        if device_id:
            return await self._remote.infos(call, device_id, num_max)
        if num_max == 0:
            raise InvalidParameter("num_max must be at least 1")
        caller = await call.caller()
        whose = None if await self._authority.sees_all(call, caller) else caller.uid
        return [mission.row for mission in self._missions.table.of(whose)[:num_max]]

    async def get_mission_info(self, call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        """Everything about one mission."""
        if device_id:
            return await self._remote.info(call, device_id, mission_id)
        return mission_details.describe(await self._find(call, mission_id))

    async def get_mission_snapshot(self, call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        """Return the use of resources by all processes of a mission."""
        if device_id:
            return await self._remote.snapshot(call, device_id, mission_id)
        mission = await self._find(call, mission_id)
        snapshot = await self._snapshots.take(mission)
        return mission_details.snapshot(snapshot, self._snapshots.state(mission, snapshot))

    async def register_mission(self, call: Call, description: dict[str, Any]) -> int:
        """Make a program known as a mission."""
        chosen = parse_options(description, REGISTRATION)
        registration = registration_of(chosen, call.sender)
        caller = await call.caller()
        owner = self._owners.named(chosen.get("pid", caller.pid), caller.pid)
        if owner.uid != caller.uid:
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
        return self._missions.register(owner.pid, registration).id

    async def unregister_mission(self, call: Call, mission_id: int) -> None:
        """Take the registration of a mission back."""
        self._missions.unregister(await self._find(call, mission_id))

    async def lock_mission(self, call: Call, mission_id: int) -> None:
        """Keep a mission from being terminated."""
        self._missions.lock(await self._find(call, mission_id), locked=True)

    async def unlock_mission(self, call: Call, mission_id: int) -> None:
        """Allow the termination of a mission again."""
        self._missions.lock(await self._find(call, mission_id), locked=False)

    async def terminate_mission(self, call: Call, mission_id: int) -> None:
        """Send SIGTERM now, and SIGKILL after the grace time; answers in between."""
        await self._termination.end(await self._find(call, mission_id))

    async def _find(self, call: Call, mission_id: int) -> Mission:
        mission = self._missions.table.find(mission_id)
        caller = await call.caller()
        if not sees(caller.uid, mission.uid):
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
        return self._missions.table.find(mission_id)
