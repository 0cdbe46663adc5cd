# SPDX-License-Identifier: Apache-2.0
"""Tells the bus what happens to missions: objects for everybody, signals for those who listen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from missiond.agent.listener_file import ListenerFile
from missiond.agent.missions import Missions
from missiond.agent.pace import Pace
from missiond.agent.snapshots import Snapshots
from missiond.bus.interface import Interface
from missiond.bus.server import Server
from missiond.bus.subscription import Subscription
from missiond.core.missions import Listeners, Mission, sees
from missiond.service import names

DELAY = 0.002
"""Seconds in which changes are gathered into one signal."""
HERE = ""


class MissionObject(Interface):
    """org.missiond.Agent1.Mission: what ps(1) shows to everybody anyway, and nothing beside it."""

    name = names.MISSION

    def __init__(self, mission: Mission) -> None:
        self._mission = mission

    def properties(self) -> dict[str, Any]:
        """All properties as they are now."""
        mission, seen = self._mission, self._mission.seen
        return {
            "Id": mission.id,
            "AppId": seen.app_id,
            "Pid": seen.leader.pid,
            "Uid": seen.uid,
            "RunningState": seen.state,
            "Locked": mission.locked,
            "Continuable": mission.continuable,
            "Tag": mission.tag,
            "Started": seen.started,
        }


class MissionAnnouncer:
    """The MissionObserver."""

    def __init__(self, server: Server, missions: Missions, snapshots: Snapshots, file: ListenerFile) -> None:
        self._server = server
        self._missions = missions
        self._snapshots = snapshots
        self._file = file
        self._listeners = Listeners()
        self._vanishing: dict[str, Subscription] = {}
        self._soon = Pace(self._flush, DELAY)

    def listen(self, name: str, uid: int) -> None:
        """Tell this connection of changes, for as long as it is there."""
        if name in self._vanishing:
            return
        self._listeners.users[name] = uid
        self._file.save(self._listeners.users)
        self._follow(name)

    def unlisten(self, name: str) -> None:
        """Tell it no more."""
        if self._listeners.users.pop(name, None) is not None:
            self._file.save(self._listeners.users)
        watch = self._vanishing.pop(name, None)
        if watch is not None:
            watch.close()
        if not self._listeners:
            self._snapshots.forgo(self._snapshot_changed)

    async def load(self, is_there: Callable[[str], Awaitable[bool]]) -> None:
        """Go on with those whom an earlier run told and who are there still."""
        self._listeners.users.update(self._file.load())
        for name in list(self._listeners.users):
            self._follow(name)
            if not await is_there(name):
                self.unlisten(name)

    def finish(self) -> None:
        """Have everybody look at what they missed; the bus name is ours now."""
        for name in self._listeners.users:
            self._emit(name, "MissionsChanged", HERE)

    def _follow(self, name: str) -> None:
        self._vanishing[name] = self._server.callers.on_vanish(name, lambda: self.unlisten(name))
        self._snapshots.refresh(self._watched, self._snapshot_changed)

    def added(self, mission: Mission) -> None:
        """Put its object on the bus."""
        self._server.add(names.mission_path(mission), MissionObject(mission))
        self._changed(mission)

    def changed(self, mission: Mission, *properties: str) -> None:
        """Tell its new values."""
        if properties:
            self._server.changed(names.mission_path(mission), names.MISSION, *properties)
        self._changed(mission)

    def removed(self, mission: Mission) -> None:
        """Take its object away."""
        self._snapshots.forget(mission)
        self._server.remove(names.mission_path(mission))
        self._changed(mission)

    def continue_requested(
        self, connection: str, continuation_id: int, mission_id: int, device: str, want_param: dict[str, Any]
    ) -> None:
        """Ask the program of a mission for its state (`Tell` of ContinueRequests)."""
        self._emit(connection, "ContinueRequested", continuation_id, mission_id, device, want_param)

    def concerned(self, uid: int) -> list[str]:
        """Return the connections that listen and may see this user's missions."""
        return self._listeners.concerned([uid])

    def _changed(self, mission: Mission) -> None:
        if self._listeners.note(mission.uid):
            self._soon.ask()
            self._snapshots.refresh(self._watched, self._snapshot_changed)

    def _flush(self) -> None:
        for name in self._listeners.take():
            self._emit(name, "MissionsChanged", HERE)

    def _watched(self) -> list[Mission]:
        uids = set(self._listeners.users.values())
        return [mission for mission in self._missions.table if any(sees(uid, mission.uid) for uid in uids)]

    def _snapshot_changed(self, mission: Mission) -> None:
        for name in self._listeners.concerned([mission.uid]):
            self._emit(name, "SnapshotChanged", HERE, mission.id)

    def _emit(self, destination: str, member: str, *arguments: object) -> None:
        self._server.emit(
            names.MANAGER_PATH, names.DISTRIBUTED_MISSION_MANAGER, member, *arguments, destination=destination
        )
