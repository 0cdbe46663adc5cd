# SPDX-License-Identifier: Apache-2.0
"""Objects of missions on the bus, and signals for listeners."""

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
"""Seconds of changes gathered into one signal."""
HERE = ""


class MissionObject(Interface):
    """org.missiond.Agent1.Mission: the public part of a mission, as in ps(1).

    Where /proc hides others' processes (`hidden`), it is there for its user and root alone.
    """

    name = bus_names.MISSION

    def __init__(self, mission: Mission, hidden: Callable[[], bool]) -> None:
        self._mission = mission
        self._hidden = hidden

    @property
    def varies(self) -> bool:
        """Whether the object is hidden from some users."""
        return self._hidden()

    def is_shown_to(self, uid: int | None) -> bool:
        """Whether this user may see the process."""
        return uid in (0, self._mission.uid) or not self._hidden()

    def properties(self) -> dict[str, Any]:
        """Return all properties."""
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
    """Announcer of missions on the bus: objects, and signals for listeners."""

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
        """Tell a connection of changes, until the connection closes."""
        if name in self._vanishing:
            return
        self._listeners.users[name] = uid
        self._file.save(self._listeners.users)
        self._follow(name)

    def unlisten(self, name: str) -> None:
        """Stop the signals to a connection."""
        if self._listeners.users.pop(name, None) is not None:
            self._file.save(self._listeners.users)
        watch = self._vanishing.pop(name, None)
        if watch is not None:
            watch.close()
        if not self._listeners:
            self._snapshots.forgo(self._snapshot_changed)

    async def load(self, is_there: Callable[[str], Awaitable[bool]]) -> None:
        """Go on with listeners of an earlier run, as far as connected."""
        self._listeners.users.update(self._file.load())
        for name in list(self._listeners.users):
            self._follow(name)
            if not await is_there(name):
                self.unlisten(name)

    def finish(self) -> None:
        """Send MissionsChanged to all listeners: changes were missed before the name was ours."""
        for name in self._listeners.users:
            self._emit(name, "MissionsChanged", HERE)

    def _follow(self, name: str) -> None:
        self._vanishing[name] = self._server.callers.on_vanish(name, lambda: self.unlisten(name))
        self._snapshots.refresh(self._watched, self._snapshot_changed)

    def added(self, mission: Mission) -> None:
        """Put the object of a mission on the bus."""
        self._server.add(bus_names.mission_path(mission), MissionObject(mission, self._hidden))
        self._changed(mission)

    def changed(self, mission: Mission, *properties: str) -> None:
        """Tell of new values of a mission's properties."""
        if properties:
            self._server.changed(bus_names.mission_path(mission), bus_names.MISSION, *properties)
        self._changed(mission)

    def removed(self, mission: Mission) -> None:
        """Take the object of a mission off the bus."""
        self._server.remove(bus_names.mission_path(mission))
        self._changed(mission)

    def visibility_changed(self) -> None:
        """Show or hide objects after a change of `hidden`."""
        for mission in self._missions.table:
            self._server.shown(bus_names.mission_path(mission), everybody=not self._hidden())

    def continue_requested(
        self, connection: str, continuation_id: int, mission_id: int, device: str, want_param: dict[str, Any]
    ) -> None:
        """Ask the program of a mission for a state (`Tell` of StateRequests)."""
        self._emit(connection, "ContinueRequested", continuation_id, mission_id, device, want_param)

    def concerned(self, uid: int) -> list[str]:
        """Return the listening connections of people with a view of this user's missions."""
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
