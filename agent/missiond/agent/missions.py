# SPDX-License-Identifier: Apache-2.0
"""The missions of this host: numbered, remembered, told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from missiond.agent import mission_records, sightings
from missiond.agent.degraded import Degraded
from missiond.core.missions import Leader, Mission, MissionTable, Registration, Sighting
from missiond.errors import CallerVerificationFailed, MissionNotFound, TransactionFailed
from missiond.host.processes import ProcessWatch, Watch
from missiond.state.counters import Counters
from missiond.state.lease_files import LeaseFiles

_LOGGER = logging.getLogger(__name__)
KIND = "mission"
_NOT_SAVED = "missions are not saved: their ids, locks and registrations do not survive a restart"
_TOO_MANY = "there are more missions than MaxMissions=; the others are not shown"


class MissionObserver(Protocol):
    """The bus, as the missions see it."""

    def added(self, mission: Mission) -> None:
        """There is a new one."""
        ...

    def changed(self, mission: Mission, *properties: str) -> None:
        """Something about it is new; the properties of its object among that are named."""
        ...

    def removed(self, mission: Mission) -> None:
        """It is over."""
        ...


class Missions:
    """Every mission has one id for as long as the host is up, whatever becomes of the daemon."""

    def __init__(
        self, files: LeaseFiles, counters: Counters, processes: ProcessWatch, degraded: Degraded, most: int
    ) -> None:
        self.table = MissionTable()
        self.observer: MissionObserver | None = None
        self.most = most
        self.bus_id = ""
        """Which bus the connections of registrations are on."""
        self.on_leader_exit: Callable[[Sighting], None] = lambda seen: self.lost(seen.key)
        """Finds out what is left of a mission that the host showed by itself."""
        self._files = files
        self._counters = counters
        self._processes = processes
        self._degraded = degraded
        self._watches: dict[int, Watch] = {}
        self._remembered: dict[str, mission_records.Remembered] = {}

    # --- what the host shows

    def found(self, seen: Sighting) -> None:
        """A mission is there, or looks different (Sink)."""
        mission = self.table.with_key(seen.key) or self._known_otherwise(seen)
        if mission is not None:
            self._update(mission, seen)
        elif len(self.table) >= self.most:
            self._degraded.set("missions", _TOO_MANY)
        else:
            self._begin(self._recall(seen))

    def lost(self, key: str) -> None:
        """A mission is over (Sink)."""
        mission = self.table.with_key(key)
        if mission is None:
            return
        self.table.remove(mission)
        watch = self._watches.pop(mission.id, None)
        if watch is not None:
            watch.close()
        self._forget(mission.id)
        if self.observer is not None:
            self.observer.removed(mission)

    # --- what programs and people ask for

    def register(self, pid: int, registration: Registration) -> Mission:
        """Make the program of this process a mission, or give the one that it leads these properties.

        Raises CallerVerificationFailed where there is no such process, TransactionFailed where there are too
        many missions.
        """
        try:
            seen = sightings.of_process(pid)
        except (ProcessLookupError, ValueError):
            raise CallerVerificationFailed(f"no process {pid} on this host; name a live one") from None
        mission = self.table.led_by(seen.leader)
        if mission is None:
            if len(self.table) >= self.most:
                raise TransactionFailed(f"there are {self.most} missions already; see MaxMissions=")
            mission = Mission(self._next_id(), seen, registration=registration, found=False)
            self._begin(mission)
            if mission.id not in self.table:
                raise CallerVerificationFailed(f"process {pid} exited")
        else:
            came_from = "" if mission.registration is None else mission.registration.origin
            mission.registration = replace(registration, origin=registration.origin or came_from)
            self._save(mission)
            self._tell(mission, "Continuable", "Tag")
        return mission

    def unregister(self, mission: Mission) -> None:
        """Take a registration back; raises MissionNotFound where there is none."""
        if mission.registration is None:
            raise MissionNotFound(f"mission {mission.id} was not registered; only the host shows it")
        mission.registration = None
        if mission.found:
            self._save(mission)
            self._tell(mission, "Continuable", "Tag")
        else:
            self.lost(mission.seen.key)

    def lock(self, mission: Mission, *, locked: bool) -> None:
        """Keep a mission from being terminated, or no longer; one that was told to end is not killed."""
        if mission.locked != locked:
            mission.locked = locked
            mission.kill_at = None
            self._save(mission)
            self._tell(mission, "Locked")

    def end_by(self, mission: Mission, when: int | None) -> None:
        """Note when what is left of a mission is to be killed, in ms of CLOCK_MONOTONIC."""
        mission.kill_at = when
        if mission.id in self.table:
            self._save(mission)

    # --- restarts

    def load(self) -> None:
        """Read what an earlier run knew; `finish` drops what is not there any more."""
        for mission_id, record in self._files.load(KIND):
            self._counters.at_least(KIND, mission_id)
            try:
                remembered = mission_records.parse(mission_id, record, self.bus_id)
            except ValueError as error:
                self._files.reject(KIND, mission_id, error)
                continue
            self._remembered[remembered.seen.key] = remembered

    def finish(self) -> None:
        """The host was looked at: what was registered goes on where its process lives, the rest is over."""
        left, self._remembered = self._remembered, {}
        for old in left.values():
            mission = Mission(old.id, old.seen, old.locked, old.registration, False, old.kill_at)
            if old.registration is not None and not old.found and self.table.led_by(old.seen.leader) is None:
                self._begin(mission)
            if mission.id not in self.table:
                self._forget(mission.id)

    def close(self) -> None:
        """Watch nothing any more; what is known stays known."""
        self._processes.close()

    def _recall(self, seen: Sighting) -> Mission:
        """Recognise what an earlier run knew: the same key, or at least the same process."""
        old = self._remembered.get(seen.key)
        if old is None or (old.seen.leader != seen.leader and not seen.key.startswith("unit/")):
            old = next((each for each in self._remembered.values() if each.seen.leader == seen.leader), None)
        if old is None:
            return Mission(self._next_id(), seen)
        del self._remembered[old.seen.key]
        return Mission(old.id, seen.steadied(old.seen), old.locked, old.registration, kill_at=old.kill_at)

    def _known_otherwise(self, seen: Sighting) -> Mission | None:
        mission = self.table.led_by(seen.leader)
        if mission is None or (mission.found and not _is_moved(mission.seen, seen)):
            return None
        return mission

    def _begin(self, mission: Mission) -> None:
        self.table.add(mission)
        self._save(mission)
        if self.observer is not None:
            self.observer.added(mission)
        self._watch(mission)

    def _update(self, mission: Mission, seen: Sighting) -> None:
        before, was_found = mission.seen, mission.found
        seen = seen.steadied(before)
        if seen == before:
            return
        mission.found = True
        self.table.update(mission, seen)
        if seen.leader != before.leader:
            self._watch(mission)
        if (seen.leader, seen.key, was_found) != (before.leader, before.key, True):
            self._save(mission)
        changes = {
            "Pid": seen.leader != before.leader,
            "AppId": seen.app_id != before.app_id,
            "RunningState": seen.state != before.state,
        }
        self._tell(mission, *(name for name, differs in changes.items() if differs))

    def _watch(self, mission: Mission) -> None:
        leader: Leader = mission.seen.leader
        old = self._watches.pop(mission.id, None)
        if old is not None:
            old.close()
        try:
            watch = self._processes.watch(leader.pid, leader.start_ticks, lambda: self._exited(mission))
        except ProcessLookupError:
            self._exited(mission)
        except OSError as error:
            _LOGGER.warning("the end of mission %d may be seen late: %s", mission.id, error)
        else:
            self._watches[mission.id] = watch

    def _exited(self, mission: Mission) -> None:
        self._watches.pop(mission.id, None)
        if mission.found:
            self.on_leader_exit(mission.seen)
        else:
            self.lost(mission.seen.key)

    def _tell(self, mission: Mission, *properties: str) -> None:
        if self.observer is not None:
            self.observer.changed(mission, *properties)

    def _next_id(self) -> int:
        taken = {old.id for old in self._remembered.values()}
        return self._counters.next(KIND, lambda number: number in self.table or number in taken)

    def _forget(self, mission_id: int) -> None:
        try:
            self._files.remove(KIND, mission_id)
        except OSError as error:
            _LOGGER.warning("the record of mission %d is left behind: %s", mission_id, error)

    def _save(self, mission: Mission) -> None:
        try:
            self._files.save(KIND, mission.id, mission_records.record(mission, self.bus_id))
        except OSError as error:
            _LOGGER.debug("mission %d is not saved: %s", mission.id, error)
            self._degraded.set("missions saved", _NOT_SAVED)
        else:
            self._degraded.set("missions saved", None)


def _is_moved(before: Sighting, seen: Sighting) -> bool:
    """Whether it is a job whose leader went to another control group, or to a process group of its own."""
    return before.key != seen.key and before.key.startswith("job/") and seen.key.startswith("job/")
