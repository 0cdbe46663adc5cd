# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.DistributedMissionManager: missions of this host, and the way to those of others."""

from __future__ import annotations

from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Caller, Interface
from missiond.bus.variants import parse_options
from missiond.core.missions.missions import Mission, Row, sees
from missiond.daemon.authority import Action, Authority
from missiond.daemon.handover.state_requests import ContinueRequests
from missiond.daemon.missions.registry import MissionRegistry
from missiond.daemon.missions.snapshots import Snapshots
from missiond.daemon.missions.terminate import Termination
from missiond.daemon.tasks.owners import Owners
from missiond.errors import InvalidParameter, PermissionDenied
from missiond.service import mission_details
from missiond.service.continuations import Continuing
from missiond.service.mission_signals import MissionAnnouncer
from missiond.service.registration import REGISTRATION, registration_of
from missiond.service.remote_missions import RemoteMissions


class DistributedMissionManager(Interface):
    """A user sees and controls the own missions, uid 0 all; those of others take manage-others."""

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
        requests: ContinueRequests,
        continuing: Continuing,
    ) -> None:
        self._missions = missions
        self._snapshots = snapshots
        self._termination = termination
        self._owners = owners
        self._authority = authority
        self._announcer = announcer
        self._remote = remote
        self._requests = requests
        self._continuing = continuing

    async def register_mission_listener(self, call: Call, device_id: str) -> None:
        """Send MissionsChanged and SnapshotChanged to the caller from now on; again is no error."""
        if device_id:
            await self._remote.listen(call, device_id)
            return
        caller = await call.caller()
        self._announcer.listen(caller.name, caller.uid)

    async def unregister_mission_listener(self, call: Call, device_id: str) -> None:
        """Send them no more; one that does not listen is no error."""
        if device_id:
            await self._remote.unlisten(call, device_id)
            return
        self._announcer.unlisten((await call.caller()).name)

    async def start_sync_remote_missions(
        self, call: Call, device_id: str, fix_conflict: bool, tag: int
    ) -> None:
        """Keep the list of a peer's missions here."""
        await self._remote.start_sync(call, device_id, fix_conflict, tag)

    async def stop_sync_remote_missions(self, call: Call, device_id: str) -> None:
        """Keep it no longer."""
        await self._remote.stop_sync(call, device_id)

    async def get_mission_infos(self, call: Call, device_id: str, num_max: int) -> list[Row]:
        """At most so many missions, by id."""
        if device_id:
            return await self._remote.infos(call, device_id, num_max)
        if num_max == 0:
            raise InvalidParameter("num_max must be at least 1")
        caller = await call.caller()
        whose = None if await self._sees_all(call, caller) else caller.uid
        return [mission.row for mission in self._missions.table.of(whose)[:num_max]]

    async def get_mission_info(self, call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        """Everything about one mission."""
        if device_id:
            return await self._remote.info(call, device_id, mission_id)
        return mission_details.describe(await self._find(call, mission_id))

    async def get_mission_snapshot(self, call: Call, device_id: str, mission_id: int) -> dict[str, Any]:
        """What all processes of a mission use now."""
        if device_id:
            return await self._remote.snapshot(call, device_id, mission_id)
        mission = await self._find(call, mission_id)
        snapshot = self._snapshots.take(mission)
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
        """Take that back."""
        self._missions.unregister(await self._find(call, mission_id))

    async def lock_mission(self, call: Call, mission_id: int) -> None:
        """Keep a mission from being terminated."""
        self._missions.lock(await self._find(call, mission_id), locked=True)

    async def unlock_mission(self, call: Call, mission_id: int) -> None:
        """Let it be terminated again."""
        self._missions.lock(await self._find(call, mission_id), locked=False)

    async def terminate_mission(self, call: Call, mission_id: int) -> None:
        """Send SIGTERM now, and SIGKILL after the grace time; answers in between."""
        await self._termination.end(await self._find(call, mission_id))

    def provide_continue_state(self, call: Call, continuation_id: int, agree: bool, state: bytes) -> None:
        """Take the answer to ContinueRequested from the connection that was asked."""
        self._requests.provide(call.sender, continuation_id, agree, bytes(state))

    async def provide_continue_state_file(
        self, call: Call, continuation_id: int, agree: bool, state: int
    ) -> None:
        """Take it with the state in a file; answers once that is copied."""
        await self._requests.provide_file(call.sender, continuation_id, agree, lambda: call.take_fd(state))

    async def continue_mission(
        self, call: Call, src_device: str, dst_device: str, mission_id: int, want_param: dict[str, Any]
    ) -> int:
        """Have a mission go on at another host, or one of another host here."""
        return await self._continuing.mission(call, src_device, dst_device, mission_id, want_param)

    async def continue_application(
        self, call: Call, src_device: str, dst_device: str, app_id: str, want_param: dict[str, Any]
    ) -> int:
        """Have the newest mission of an application go on."""
        return await self._continuing.application(call, src_device, dst_device, app_id, want_param)

    async def list_continuations(self, call: Call) -> list[dict[str, Any]]:
        """What is not over."""
        caller = await call.caller()
        return await self._continuing.list(call, everybody=await self._sees_all(call, caller))

    async def reclaim_continuation(self, call: Call, transfer: str) -> None:
        """Take a mission back that is in doubt."""
        await self._continuing.reclaim(call, transfer)

    async def drop_continuation(self, call: Call, transfer: str) -> None:
        """Give up what was prepared here."""
        await self._continuing.drop(call, transfer)

    async def _find(self, call: Call, mission_id: int) -> Mission:
        mission = self._missions.table.find(mission_id)
        caller = await call.caller()
        if not sees(caller.uid, mission.uid):
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
        return self._missions.table.find(mission_id)

    async def _sees_all(self, call: Call, caller: Caller) -> bool:
        """Uid 0, and who asks for it by letting polkit ask, if polkit says yes."""
        if caller.uid == 0 or not call.interactive:
            return caller.uid == 0
        try:
            await self._authority.require(Action.MANAGE_OTHERS, call, caller.uid)
        except PermissionDenied:
            return False
        return True
