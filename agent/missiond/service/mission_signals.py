# SPDX-License-Identifier: Apache-2.0
"""Tells the bus what happens to missions: objects for everybody, signals for those who listen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from missiond import bus_names
from missiond.bus.interface import Interface
from missiond.bus.server import Server
from missiond.common.debounce import Debouncer
from missiond.common.subscription import Subscription
from missiond.core.missions.missions import Listeners, Mission, sees
from missiond.daemon.missions.listener_store import ListenerStore
from missiond.daemon.missions.registry import MissionObserver, MissionRegistry
from missiond.daemon.missions.snapshots import Snapshots

DELAY = 0.002
"""Seconds in which changes are gathered into one signal."""
HERE = ""


class MissionObject(Interface):
    """org.missiond.Agent1.Mission: what ps(1) shows to everybody, and nothing beside it.

    Where /proc hides others' processes (`hidden`), it is there for its user and root alone.
    """

    name = bus_names.MISSION

    def __init__(self, mission: Mission, hidden: Callable[[], bool]) -> None:
        self._mission = mission
        self._hidden = hidden

    @property
    def varies(self) -> bool:
        """Whether it is not there for everybody."""
        return self._hidden()

    def is_shown_to(self, uid: int | None) -> bool:
        """Whether this user may see that there is such a process."""
        return uid in (0, self._mission.uid) or not self._hidden()

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


class MissionAnnouncer(MissionObserver):
    """The MissionObserver."""

    def __init__(
        self,
        server: Server,
        missions: MissionRegistry,
        snapshots: Snapshots,
        file: ListenerStore,
        hidden: Callable[[], bool],
    ) -> None:
        """`hidden` tells whether users of this host may not see others' processes."""
        self._server = server
        self._missions = missions
        self._snapshots = snapshots
        self._file = file
        self._listeners = Listeners()
        self._vanishing: dict[str, Subscription] = {}
        self._soon = Debouncer(self._flush, DELAY)
        self._hidden = hidden

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
        self._server.add(bus_names.mission_path(mission), MissionObject(mission, self._hidden))
        self._changed(mission)

    def changed(self, mission: Mission, *properties: str) -> None:
        """Tell its new values."""
        if properties:
            self._server.changed(bus_names.mission_path(mission), bus_names.MISSION, *properties)
        self._changed(mission)

    def removed(self, mission: Mission) -> None:
        """Take its object away."""
        self._snapshots.forget(mission)
        self._server.remove(bus_names.mission_path(mission))
        self._changed(mission)

    def visibility_changed(self) -> None:
        """`hidden` is another from now on: objects come or go for everybody but their users."""
        for mission in self._missions.table:
            self._server.shown(bus_names.mission_path(mission), everybody=not self._hidden())

    def continue_requested(
        self, connection: str, continuation_id: int, mission_id: int, device: str, want_param: dict[str, Any]
    ) -> None:
        """Ask the program of a mission for its state (`Tell` of StateRequests)."""
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
            bus_names.MANAGER_PATH,
            bus_names.DISTRIBUTED_MISSION_MANAGER,
            member,
            *arguments,
            destination=destination,
        )
