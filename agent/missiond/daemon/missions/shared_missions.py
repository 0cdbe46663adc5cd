# SPDX-License-Identifier: Apache-2.0
"""The missions of this host for the eyes of other hosts, and the changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from missiond.common.debounce import Debouncer
from missiond.core.missions.missions import Mission, Row
from missiond.daemon.missions.registry import MissionObserver, MissionRegistry
from missiond.daemon.missions.snapshots import Snapshots
from missiond.errors import MissionNotFound


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Callbacks for new or different rows and removed ids, and for the ids of new snapshots."""

    changed: Callable[[list[Row], list[int]], None]
    snapshot_changed: Callable[[int], None]


DELAY = 0.002
"""Seconds for gathering changes."""


class SharedMissions(MissionObserver):
    """There is one subscriber at a time; without one nothing is kept.

    `users` are those who share, None for all of the people, whom `is_person` tells from others.
    """

    def __init__(
        self,
        missions: MissionRegistry,
        snapshots: Snapshots,
        is_person: Callable[[int], bool],
        users: tuple[int, ...] | None,
    ) -> None:
        self._missions = missions
        self._snapshots = snapshots
        self._is_person = is_person
        self._users = users
        self._subscriber: Subscriber | None = None
        self._told: dict[int, Row] = {}
        self._changed: set[int] = set()
        self._soon = Debouncer(self._tell, DELAY)
        self._watching = False

    def subscribe(self, subscriber: Subscriber) -> list[Row]:
        """Return the shared missions, and tell of changes from now on, in place of an earlier subscriber."""
        self.unsubscribe()
        self._subscriber = subscriber
        self._told = {mission.id: mission.row for mission in self._shared()}
        return list(self._told.values())

    def unsubscribe(self) -> None:
        """Tell nobody."""
        self.watch_snapshots(on=False)
        self._soon.close()
        self._subscriber = None
        self._told = {}
        self._changed.clear()

    def watch_snapshots(self, *, on: bool) -> None:
        """Start or stop measuring shared missions at the pace of SnapshotInterval=."""
        self._watching = on and self._subscriber is not None
        if self._watching:
            self._snapshots.refresh(self._shared, self._snapshot_changed)
        else:
            self._snapshots.forgo(self._snapshot_changed)

    def find(self, mission_id: int) -> Mission:
        """Return a shared mission; raises InvalidParameter for 0, MissionNotFound."""
        mission = self._missions.table.find(mission_id)
        if not self._is_shared(mission):
            raise MissionNotFound(f"there is no mission {mission_id} on this host; list them again")
        return mission

    def missions(self) -> list[Mission]:
        """Return the shared missions."""
        return self._shared()

    def configure(self, users: tuple[int, ...] | None) -> None:
        """Let these users share from now on."""
        if users != self._users:
            self._users = users
            self.look_again()

    def look_again(self) -> None:
        """Review the choice of shared missions: persons may be known better."""
        self._note(self._told.keys() | {mission.id for mission in self._shared()})

    def close(self) -> None:
        """Tell nobody any more."""
        self.unsubscribe()

    # --- what happens to missions

    def added(self, mission: Mission) -> None:
        """Note a new mission."""
        self._note([mission.id])

    def changed(self, mission: Mission, *_properties: str) -> None:
        """Note a change of a mission."""
        self._note([mission.id])

    def removed(self, mission: Mission) -> None:
        """Note the end of a mission."""
        self._note([mission.id])

    def _note(self, mission_ids: Iterable[int]) -> None:
        if self._subscriber is None:
            return
        self._changed.update(mission_ids)
        if self._changed:
            self._soon.ask()
        if self._watching:
            self._snapshots.refresh(self._shared, self._snapshot_changed)

    def _tell(self) -> None:
        changed, self._changed = self._changed, set()
        rows, removed = [], []
        for mission_id in sorted(changed):
            row = self._row(mission_id)
            if row is None and self._told.pop(mission_id, None) is not None:
                removed.append(mission_id)
            elif row is not None and self._told.get(mission_id) != row:
                self._told[mission_id] = row
                rows.append(row)
        if self._subscriber is not None and (rows or removed):
            self._subscriber.changed(rows, removed)

    def _row(self, mission_id: int) -> Row | None:
        if mission_id not in self._missions.table:
            return None
        mission = self._missions.table.find(mission_id)
        return mission.row if self._is_shared(mission) else None

    def _shared(self) -> list[Mission]:
        return [mission for mission in self._missions.table.of(None) if self._is_shared(mission)]

    def _is_shared(self, mission: Mission) -> bool:
        return self._is_person(mission.uid) and (self._users is None or mission.uid in self._users)

    def _snapshot_changed(self, mission: Mission) -> None:
        if self._subscriber is not None:
            self._subscriber.snapshot_changed(mission.id)
