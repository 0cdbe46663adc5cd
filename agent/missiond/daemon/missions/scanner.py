# SPDX-License-Identifier: Apache-2.0
"""Finds missions: units from the control groups, jobs from the processes of the shared ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from missiond.common.debounce import Debouncer
from missiond.core.missions.missions import Sighting
from missiond.daemon.missions import probe
from missiond.host.cgroups import tree
from missiond.host.cgroups.service_programs import ServiceCgroup
from missiond.host.cgroups.tree import Unit
from missiond.host.cgroups.units import application_of
from missiond.host.processes import jobs
from missiond.host.processes.jobs import Job, SharedCgroup
from missiond.host.processes.stat import Stat
from missiond.host.users import desktop_entries

DELAY = 0.015
"""Seconds from word that a program was started to the look at what it is."""
EXIT_DELAY = 0.001
SERVICE_DELAY = 0.25
"""The same for services, which rarely start what is a program of its own."""
UNNAMED_DELAY = 0.25
"""Seconds until what was about to become another program is looked at again, where no word of that comes."""


class MissionSink(Protocol):
    """Who wants to know of missions."""

    def found(self, sighting: Sighting) -> None:
        """Tell of one that is there, again when it looks different."""
        ...

    def lost(self, key: str) -> None:
        """Tell of one that is over."""
        ...


@dataclass(slots=True)
class _Place:
    """A unit in which something lives."""

    unit: Unit
    is_mission: bool
    frozen: bool = False
    shared: SharedCgroup | None = None
    keeps_shells: bool = False
    """Whether it was a multiplexer's, so that only the jobs in it are missions."""
    leader: Stat | None = None
    is_told: bool = False
    """Whether the sink knows of it as a unit."""
    jobs: dict[int, Job] = field(default_factory=dict)
    strays: set[int] = field(default_factory=set)
    """Process groups of jobs that are at home in another place, and have left something here."""


class MissionScanner:
    """Keeps the sink told, without ever looking at all processes; `is_person` tells of a uid."""

    def __init__(self, mount: Path, sink: MissionSink, is_person: Callable[[int], bool] = bool) -> None:
        self._mount = mount
        self._sink = sink
        self._is_person = is_person
        self._places: dict[int, _Place] = {}
        self._fresh: set[int] = set()
        self._shared: set[int] = set()
        self._services: set[int] = set()
        self._dirty: set[int] = set()
        self._started = Debouncer(self._look_for_new, DELAY)
        self._exited = Debouncer(self._look_at_dirty, EXIT_DELAY)
        self._served = Debouncer(self._look_at_services, SERVICE_DELAY)
        self._unnamed = Debouncer(self._look_at_unnamed, UNNAMED_DELAY)

    def populated(self, unit: Unit, *, frozen: bool) -> None:
        """Something lives in a unit (UnitListener)."""
        place = self._places.get(unit.inode)
        if place is None:
            place = self._places[unit.inode] = _Place(unit, unit.is_mission)
            if unit.is_shared:
                self._share(place, only_terminals=False)
            elif place.is_mission and _is_terminal(unit):
                self._share(place, only_terminals=True)
            elif unit.may_hold_programs:
                place.shared = ServiceCgroup(self._mount / unit.path)
                self._services.add(unit.inode)
        place.frozen = frozen
        self._look(place)

    def ended(self, unit: Unit) -> None:
        """Nothing lives in a unit any more (UnitListener)."""
        place = self._places.pop(unit.inode, None)
        if place is None:
            return
        for known in (self._fresh, self._shared, self._services, self._dirty):
            known.discard(unit.inode)
        for group in place.jobs:
            self._sink.lost(probe.job_key(unit, group))
            self._look_for_strays(place, group)
        if place.is_mission:
            self._sink.lost(f"unit/{unit.inode}")

    def programs_started(self) -> None:
        """Some program was started somewhere on the host."""
        if self._shared or self._fresh:
            self._started.ask()
        if self._services:
            self._served.ask()

    def leader_exited(self, sighting: Sighting) -> None:
        """The process that stands for a mission is gone; others of it may be left."""
        place = self._places.get(_inode(sighting.key))
        if place is None:
            self._sink.lost(sighting.key)
            return
        if place.shared is not None:
            place.shared.forget(sighting.leader.pid)
        self._dirty.add(place.unit.inode)
        self._exited.ask()

    def look_again(self) -> None:
        """Look at every place."""
        for place in list(self._places.values()):
            self._look(place)

    def tell_again(self) -> None:
        """Tell of everything once more: whose it is may be another's by now."""
        for place in self._places.values():
            for group, job in place.jobs.items():
                seen = probe.of_job(place.unit, group, job.leader, job.application)
                if seen is not None:
                    self._tell(place.unit, seen)
        self.look_again()

    def close(self) -> None:
        """Look no more."""
        self._started.close()
        self._served.close()
        self._exited.close()
        self._unnamed.close()

    def _share(self, place: _Place, *, only_terminals: bool) -> None:
        place.shared = SharedCgroup(self._mount / place.unit.path, only_terminals=only_terminals)
        self._shared.add(place.unit.inode)

    def _look_for_new(self) -> None:
        for inode in list(self._shared | self._fresh):
            self._look(self._places[inode])

    def _look_at_services(self) -> None:
        for inode in list(self._services):
            self._look(self._places[inode])

    def _look_at_unnamed(self) -> None:
        self._look_for_new()
        self._look_at_services()

    def _look_at_dirty(self) -> None:
        dirty, self._dirty = self._dirty, set()
        for inode in dirty:
            place = self._places.get(inode)
            if place is not None:
                self._look(place)

    def _look(self, place: _Place) -> None:
        if place.is_mission:
            self._look_at_unit(place)
        if place.shared is not None:
            self._look_at_jobs(place, place.shared)

    def _look_at_unit(self, place: _Place) -> None:
        unit = place.unit
        stats = jobs.read_live(tree.processes(self._mount / unit.path))
        if not stats:
            return  # it ends, or is about to begin: cgroup.events will tell
        place.leader = jobs.oldest(stats)
        (self._fresh.add if place.leader.age < jobs.SETTLED else self._fresh.discard)(unit.inode)
        if place.keeps_shells or (unit.uid is not None and jobs.is_multiplexer(place.leader)):
            self._look_at_multiplexer(place)
            return
        if not place.is_told and jobs.is_becoming(place.leader):
            self._unnamed.ask()
            return
        seen = probe.of_unit(unit, place.leader, frozen=place.frozen)
        if seen is not None:
            place.is_told = True
            self._tell(unit, seen)

    def _look_at_multiplexer(self, place: _Place) -> None:
        """Take it for a terminal: `systemd-run --user --scope tmux`, as logind.conf(5) has it."""
        if not place.keeps_shells:
            place.keeps_shells = True
            self._share(place, only_terminals=False)
            self._sink.lost(f"unit/{place.unit.inode}")  # as what began it

    def _tell(self, unit: Unit, seen: Sighting) -> None:
        """Say whose it is: what a person has running as root or a system's user is that person's."""
        if unit.uid is not None and not (seen.uid and self._is_person(seen.uid)):
            seen = replace(seen, uid=unit.uid)
        self._sink.found(seen)

    def _look_at_jobs(self, place: _Place, shared: SharedCgroup) -> None:
        known, place.jobs = place.jobs, shared.look()
        self._leave_out_strays(place)
        self._look_for_moved(place, known)
        for group, job in list(known.items()):
            now = place.jobs.get(group)
            if now is None or job.is_another(now):
                del known[group]
                self._sink.lost(probe.job_key(place.unit, group))
                self._look_for_strays(place, group)
        # first those that stay: a process that left one takes nothing of it along
        for group, job in sorted(place.jobs.items(), key=lambda item: item[0] not in known):
            if group in known and not _looks_different(known[group].leader, job.leader):
                continue
            if group not in known and jobs.is_becoming(job.leader):
                del place.jobs[group]
                self._unnamed.ask()
                continue
            seen = probe.of_job(place.unit, group, job.leader, job.application)
            if seen is not None:
                self._tell(place.unit, seen)
            else:  # it exited just now; others of its group may be left
                if group in known:
                    place.jobs[group] = known[group]
                else:
                    del place.jobs[group]
                self._dirty.add(place.unit.inode)
                self._exited.ask()

    def _look_for_moved(self, place: _Place, known: dict[int, Job]) -> None:
        """Let a job that was moved be found where it is before it is lost here: so it stays what it is.

        What is left of one may also found a process group of its own, as daemon(3) and setsid(1) do.
        """
        moved = {group for group in known.keys() - place.jobs.keys() if jobs.is_alive(known[group].leader)}
        for other, shared in self._others(place) if moved else ():
            for group, job in shared.look().items():
                if group in moved and known[group].leader.pid == job.leader.pid:
                    seen = probe.of_job(other.unit, group, job.leader, job.application)
                    if seen is not None:
                        other.jobs[group] = job
                        self._tell(other.unit, seen)
                        moved.discard(group)
        leaders = {known[group].leader.pid for group in moved}
        for group, job in place.jobs.items() if moved else ():
            if group not in known and job.leader.pid in leaders:
                seen = probe.of_job(place.unit, group, job.leader, job.application)
                if seen is not None:
                    self._tell(place.unit, seen)
        # where it is will be told of in a moment
        place.jobs |= {
            group: known[group] for group in moved if self._is_elsewhere(place, known[group].leader.pid)
        }

    def _leave_out_strays(self, place: _Place) -> None:
        """A job is where the process that gave it its number is, though what that started may have stayed.

        tmux(1) and terminals move the first process of a window to a scope once it runs, and a task's owner
        may be moved out of its session.
        """
        headless = {group for group, job in place.jobs.items() if job.founded is None}
        place.strays = {group for group in headless if self._is_elsewhere(place, group)}
        for group in place.strays:
            del place.jobs[group]

    def _is_elsewhere(self, place: _Place, pid: int) -> bool:
        """Whether a process is in another place of the user's, which may not be known yet."""
        path = tree.of_process(pid) if jobs.read_live([pid]) else ""
        if tree.is_within(path, place.unit.path):
            return False
        return tree.shared_by(path) == place.unit.uid or any(
            tree.is_within(path, other.unit.path) for other, _ in self._others(place)
        )

    def _look_for_strays(self, place: _Place, group: int) -> None:
        """What is left of a job that ended is a job where it is."""
        for other, _ in self._others(place):
            if group in other.strays:
                self._dirty.add(other.unit.inode)
                self._exited.ask()

    def _others(self, place: _Place) -> list[tuple[_Place, SharedCgroup]]:
        """Return the same user's other places where jobs can be."""
        return [
            (other, other.shared)
            for other in self._places.values()
            if other.shared is not None and other is not place and other.unit.uid == place.unit.uid
        ]

    def members(self, sighting: Sighting) -> tuple[list[Stat], Path | None]:
        """Live processes of a mission, and its control group where that is nobody else's."""
        kind, _, rest = sighting.key.partition("/")
        if kind == "process":
            return jobs.family(sighting.leader.pid, sighting.leader.start_ticks), None
        place = self._places.get(_inode(sighting.key))
        if place is None:
            return [], None
        if kind == "job":
            job = place.jobs.get(int(rest.rpartition("/")[2]))
            if job is None or place.shared is None:
                return [], None
            strays = [shared for other, shared in self._others(place) if job.group in other.strays]
            return [stat for each in (place.shared, *strays) for stat in each.members(job)], None
        directory = self._mount / place.unit.path
        return jobs.read_live(tree.processes(directory)), directory


def _inode(key: str) -> int:
    kind, _, rest = key.partition("/")
    return -1 if kind == "process" else int(rest.partition("/")[0])


def _is_terminal(unit: Unit) -> bool:
    application = application_of(unit.name)
    entry = desktop_entries.find(application) if application is not None else None
    return entry is not None and entry.is_terminal


def _looks_different(before: Stat, now: Stat) -> bool:
    return (before.pid, before.start_ticks, before.name) != (now.pid, now.start_ticks, now.name)
