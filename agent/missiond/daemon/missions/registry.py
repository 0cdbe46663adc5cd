# SPDX-License-Identifier: Apache-2.0
"""The missions of this host: numbered, remembered, told of."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from missiond.common.backoff import Backoff
from missiond.core.missions.missions import Leader, Mission, MissionTable, Registration, Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.missions import mission_codec, probe
from missiond.daemon.shortage import OUT_OF, Shortage
from missiond.degraded import Degraded
from missiond.errors import CallerVerificationFailed, MissionNotFound, TransactionFailed
from missiond.host.processes import jobs
from missiond.host.processes.processes import ExitWatch, ProcessWatch
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore, Store

_LOGGER = logging.getLogger(__name__)
KIND = "mission"
SAVE_AGAIN, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until another attempt to write a record; twice as long each time."""
_NOT_SAVED = "missions are not saved: their ids, locks and registrations do not survive a restart"
_TOO_MANY = "there are more missions than the share of their users in MaxMissions=; some are not shown"


class MissionObserver:
    """The base of observers of missions; each method does nothing here."""

    def added(self, mission: Mission) -> None:
        """React to a new mission."""

    def changed(self, mission: Mission, *properties: str) -> None:
        """React to a change of a mission; `properties` are the changed ones of the object on the bus."""

    def removed(self, mission: Mission) -> None:
        """React to the end of a mission."""


class MissionRegistry:
    """The missions, each with one id for as long as the host is up, across restarts of the daemon."""

    def __init__(
        self,
        files: RecordStore,
        counters: Counters,
        processes: ProcessWatch,
        degraded: Degraded,
        shares: Shares,
        person_of: Callable[[int], int] = lambda uid: uid,
        *,
        bus_id: str = "",
        on_room: Callable[[], None] = lambda: None,
        on_leader_exit: Callable[[Sighting], None] | None = None,
    ) -> None:
        """Make one without missions.

        :param bus_id: the bus that the connections of registrations are on
        :param on_room: called when a mission is over, where others were left out for want of room
        :param on_leader_exit: finds out what is left of a mission that the host showed by itself
        """
        self.table = MissionTable()
        self._observers: list[MissionObserver] = []
        self.shares = shares
        """Of all missions together, by person."""
        self._on_room = on_room
        self._person_of = person_of
        self._left_out = False
        self._unsaved: dict[int, Mission] = {}
        """Missions whose last change is not on disk, by id."""
        self._save_again = Backoff(SAVE_AGAIN, LONGEST_PAUSE)
        self._shortage = Shortage(degraded, "missions")
        self._bus_id = bus_id
        self._on_leader_exit = on_leader_exit or (lambda seen: self.lost(seen.key))
        self._records = Store(
            files,
            KIND,
            lambda number, json: mission_codec.load(number, json, bus_id),
            lambda mission: mission_codec.dump(mission, bus_id),
        )
        self._counters = counters
        self._processes = processes
        self._degraded = degraded
        self._watches: dict[int, ExitWatch] = {}
        self._remembered: dict[str, Mission] = {}

    # --- what the host shows

    def subscribe(self, *observers: MissionObserver) -> None:
        """Tell the observers of missions from now on, after earlier observers."""
        self._observers += observers

    def found(self, seen: Sighting) -> None:
        """Add or update a mission from a sighting."""
        mission = self.table.with_key(seen.key) or self._known_otherwise(seen)
        if mission is not None and _is_anothers(mission, seen):
            self.lost(mission.seen.key)
            mission = None
        if mission is None and (mission := self._registered_for(seen)) is not None:
            seen = replace(seen, uid=mission.uid)
        if mission is not None:
            self._update(mission, seen)
        elif seen.key not in self._remembered and not self.shares.has_room(self._person_of(seen.uid)):
            self._left_out = True
            self._degraded.set("missions shown", _TOO_MANY)
        else:
            self._begin(self._recall(seen))

    def lost(self, key: str) -> None:
        """Remove a mission, a registered one only after the end of the process."""
        mission = self.table.with_key(key)
        if mission is None or self._stays_registered(mission):
            return
        self.table.remove(mission)
        self.shares.give_back(mission.id)
        if self._left_out:
            self._left_out = False
            self._degraded.set("missions shown", None)
            self._on_room()
        watch = self._watches.pop(mission.id, None)
        if watch is not None:
            watch.close()
        self._unsaved.pop(mission.id, None)
        self._forget(mission.id)
        for observer in self._observers:
            observer.removed(mission)

    # --- what programs and people ask for

    def register(self, pid: int, registration: Registration) -> Mission:
        """Make the program of this process a mission, or update the mission led by the process.

        Raises CallerVerificationFailed where there is no such process, TransactionFailed where there are too
        many missions.
        """
        try:
            seen = probe.of_process(pid, registration.argv)
        except (ProcessLookupError, ValueError):
            raise CallerVerificationFailed(f"no process {pid} on this host; name a live one") from None
        mission = self.table.led_by(seen.leader)
        if mission is None:
            if not self.shares.has_room(person := self._person_of(seen.uid)):
                raise TransactionFailed(
                    f"there are {len(self.shares)} of {self.shares.most} missions already, "
                    f"{self.shares.of(person)} of them this user's; see MaxMissions="
                )
            mission = Mission(
                self._next_id(), seen, registration=registration, found=False, registrant=seen.leader
            )
            self._begin(mission)
            if mission.id not in self.table:
                raise CallerVerificationFailed(f"process {pid} exited")
        else:
            came_from = "" if mission.registration is None else mission.registration.origin
            mission.registration = replace(registration, origin=registration.origin or came_from)
            mission.registrant = seen.leader
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
        """Lock a mission against termination, or unlock the mission; a pending kill is cancelled."""
        if mission.locked != locked:
            mission.locked = locked
            mission.kill_at = None
            self._save(mission)
            self._tell(mission, "Locked")

    def end_by(self, mission: Mission, when: int | None) -> None:
        """Note the time of SIGKILL for the rest of a mission, in ms of CLOCK_MONOTONIC."""
        mission.kill_at = when
        if mission.id in self.table:
            self._save(mission)

    # --- restarts

    def load(self) -> None:
        """Read the missions of an earlier run; `finish` drops the ones not found again.

        What was registered is there at once: a look at the host may show no more than what it runs, as with
        sudo(8), and that belongs to it.
        """
        for remembered in self._records.load(partial(self._counters.at_least, KIND)).values():
            self._remembered[remembered.seen.key] = remembered
        for old in list(self._remembered.values()):
            if not old.found or old.seen.key.startswith("job/"):
                self._go_on_registered(old)

    def finish(self) -> None:
        """Drop the missions not found by the scan, but live registered ones."""
        for old in list(self._remembered.values()):
            if not self._go_on_registered(old):
                self._forget(old.id)
        self._remembered.clear()

    def close(self) -> None:
        """Stop watching; the state on disk stays."""
        self._save_again.cancel()
        self._processes.close()

    def _recall(self, seen: Sighting) -> Mission:
        """Recognise what an earlier run knew: the same key, or at least the same process."""
        old = self._remembered.get(seen.key)
        if old is None or (old.seen.leader != seen.leader and not seen.key.startswith("unit/")):
            old = next((each for each in self._remembered.values() if each.seen.leader == seen.leader), None)
        if old is None:
            return Mission(self._next_id(), seen)
        del self._remembered[old.seen.key]
        return _remembered(old, seen.steadied(old.seen))

    def _go_on_registered(self, old: Mission) -> bool:
        """Go on with what an earlier run knew by the process that registered it, if that lives."""
        seen = None if old.registration is None else _process(old.registrant or old.seen.leader)
        if seen is None or self.table.led_by(seen.leader) is not None:
            return False
        del self._remembered[old.seen.key]
        self._begin(_remembered(old, replace(seen, uid=old.seen.uid).steadied(old.seen), found=False))
        return old.id in self.table

    def _known_otherwise(self, seen: Sighting) -> Mission | None:
        mission = self.table.led_by(seen.leader)
        if mission is None or (mission.found and not _is_moved(mission.seen, seen)):
            return None
        return mission

    def _registered_for(self, seen: Sighting) -> Mission | None:
        """Find what registered itself, became sudo(8) or its like, and runs this job."""
        for above in jobs.go_betweens_above(seen.leader.pid) if seen.key.startswith("job/") else ():
            mission = self.table.led_by(Leader(above.pid, above.start_ticks))
            if mission is not None and mission.registration is not None and not mission.found:
                return mission
        return None

    def _stays_registered(self, mission: Mission) -> bool:
        """Go on with the process that was registered where the host shows the mission no more.

        It may have become something that is no job, such as sudo(8) and tmux(1).
        """
        if mission.registration is None or mission.registrant is None or not mission.found:
            return False
        seen = _process(mission.registrant)
        if seen is None or self.table.with_key(seen.key) is not None:
            return False
        self._update(mission, replace(seen, uid=mission.uid), found=False)
        return True

    def _begin(self, mission: Mission) -> None:
        self.table.add(mission)
        self.shares.take(mission.id, self._person_of(mission.uid))
        self._save(mission)
        for observer in self._observers:
            observer.added(mission)
        self._watch(mission)

    def _update(self, mission: Mission, seen: Sighting, *, found: bool = True) -> None:
        before, was_found = mission.seen, mission.found
        seen = seen.steadied(before)
        if was_found and mission.registration is not None:
            seen = replace(seen, uid=before.uid)  # whoever it has become
        if seen == before:
            return
        mission.found = found
        self.table.update(mission, seen)
        if (seen.leader, seen.key, was_found) != (before.leader, before.key, found):
            self._save(mission)
        changes = {
            "Pid": seen.leader != before.leader,
            "AppId": seen.app_id != before.app_id,
            "RunningState": seen.state != before.state,
        }
        self._tell(mission, *(name for name, differs in changes.items() if differs))
        if seen.leader != before.leader or not found:
            self._watch(mission)  # perhaps it is gone

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
            if error.errno in OUT_OF:
                self._shortage.failed(str(error.strerror))
            else:
                _LOGGER.warning("the end of mission %d may be seen late: %s", mission.id, error)
        else:
            self._watches[mission.id] = watch
            self._shortage.worked()

    def _exited(self, mission: Mission) -> None:
        self._watches.pop(mission.id, None)
        if mission.found:
            self._on_leader_exit(mission.seen)
        else:
            self.lost(mission.seen.key)

    def _tell(self, mission: Mission, *properties: str) -> None:
        for observer in self._observers:
            observer.changed(mission, *properties)

    def _next_id(self) -> int:
        taken = {old.id for old in self._remembered.values()}
        return self._counters.next(KIND, lambda number: number in self.table or number in taken)

    def _forget(self, mission_id: int) -> None:
        try:
            self._records.remove(mission_id)
        except OSError as error:
            _LOGGER.warning("the record of mission %d is left behind: %s", mission_id, error)

    def _save(self, mission: Mission) -> None:
        try:
            self._records.save(mission.id, mission)
        except OSError as error:
            _LOGGER.debug("mission %d is not saved: %s", mission.id, error)
            self._unsaved[mission.id] = mission
            self._degraded.set("missions saved", _NOT_SAVED)
            self._save_again.later(self._write_again)
        else:
            self._unsaved.pop(mission.id, None)
            self._all_saved()

    def _write_again(self) -> None:
        """Write what could not be written: nothing tells when a disk has room again."""
        for mission in list(self._unsaved.values()):
            self._save(mission)
        self._all_saved()

    def _all_saved(self) -> None:
        if not self._unsaved:
            self._degraded.set("missions saved", None)
            self._save_again.reset()


def _process(leader: Leader) -> Sighting | None:
    """Describe this very process; None where it is gone."""
    try:
        seen = probe.of_process(leader.pid)
    except (OSError, ValueError):
        return None
    return seen if seen.leader == leader else None


def _remembered(old: Mission, seen: Sighting, *, found: bool = True) -> Mission:
    """Make it again as an earlier run knew it; records of earlier versions do not say who registered it."""
    who = old.registrant or (None if old.registration is None else old.seen.leader)
    return replace(old, seen=seen, found=found, registrant=who)


def _is_anothers(mission: Mission, seen: Sighting) -> bool:
    """Whether what the host alone tells of is of another user by now: then it is another mission."""
    return mission.found and mission.registration is None and mission.uid != seen.uid


def _is_moved(before: Sighting, seen: Sighting) -> bool:
    """Whether it is a job whose leader went to another control group, or to a process group of its own."""
    return before.key != seen.key and before.key.startswith("job/") and seen.key.startswith("job/")
