# SPDX-License-Identifier: Apache-2.0
"""The scan for missions of one user: the units, and the jobs in shared units."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from missiond.common.debounce import SlicedDebouncer
from missiond.common.time_slice import SlicedQueue
from missiond.core.missions.missions import Sighting
from missiond.daemon.missions import probe
from missiond.daemon.missions.registry import MissionRegistry
from missiond.host.cgroups import tree
from missiond.host.cgroups.service_programs import ServiceCgroup
from missiond.host.cgroups.tree import Unit
from missiond.host.cgroups.units import application_of
from missiond.host.processes import jobs
from missiond.host.processes.jobs import Job, SharedCgroup
from missiond.host.processes.stat import Stat
from missiond.host.users import desktop_entries

DELAY = 0.015
"""Seconds from the news of a new program to the look at the program."""
EXIT_DELAY = 0.001
SERVICE_DELAY = 0.25
"""The same for services, rarely a source of other programs."""
UNNAMED_DELAY = 0.25
"""Seconds until another look at a process about to become another program, where no news comes."""


Members = Generator[None, None, tuple[list[Stat], Path | None]]
"""The steps to the processes of a mission, and to the control group of this mission alone."""


@dataclass(slots=True, eq=False)
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
    is_waiting: bool = False
    """Whether a look at it waits for its turn."""
    jobs: dict[int, Job] = field(default_factory=dict)
    """Those that the sink knows of."""
    strays: set[int] = field(default_factory=set)
    """Process groups of jobs that are at home in another place, and have left something here."""


class UserScanner:
    """Looks at the units of one user, or of the host (uid None), in small steps of `queue`."""

    def __init__(
        self,
        mount: Path,
        sink: MissionRegistry,
        is_person: Callable[[int], bool],
        queue: SlicedQueue,
        uid: int | None,
    ) -> None:
        self.uid = uid
        self.places: dict[int, _Place] = {}
        self._mount = mount
        self._sink = sink
        self._is_person = is_person
        self._queue = queue
        self._with_jobs: dict[str, _Place] = {}
        """Where jobs can be, by path."""
        self._fresh: set[int] = set()
        self._shared: set[int] = set()
        self._services: set[int] = set()
        self._dirty: set[int] = set()
        self._started = SlicedDebouncer(self._look_for_new, DELAY, queue, uid)
        self._exited = SlicedDebouncer(self._look_at_dirty, EXIT_DELAY, queue, uid)
        self._served = SlicedDebouncer(self._look_at_services, SERVICE_DELAY, queue, uid)
        self._unnamed = SlicedDebouncer(self._look_at_unnamed, UNNAMED_DELAY, queue, uid)

    def populated(self, unit: Unit, frozen: bool) -> None:
        """Have a populated unit looked at."""
        place = self.places.get(unit.inode)
        if place is None:
            place = self.places[unit.inode] = _Place(unit, unit.is_mission)
            if unit.is_shared:
                self._share(place, only_terminals=False)
            elif place.is_mission and _is_terminal(unit):
                self._share(place, only_terminals=True)
            elif unit.may_hold_programs:
                place.shared = ServiceCgroup(self._mount / unit.path)
                self._with_jobs[unit.path] = place
                self._services.add(unit.inode)
        place.frozen = frozen
        self._ask(place)

    def ended(self, unit: Unit) -> None:
        """Forget a unit without processes."""
        place = self.places.pop(unit.inode)
        if self._with_jobs.get(unit.path) is place:
            del self._with_jobs[unit.path]
        for known in (self._fresh, self._shared, self._services, self._dirty):
            known.discard(unit.inode)
        for group in place.jobs:
            self._sink.lost(probe.job_key(unit, group))
            self._look_for_strays(place, group)
        if place.is_mission:
            self._sink.lost(f"unit/{unit.inode}")

    def programs_started(self) -> None:
        """Look for programs just started."""
        if self._shared or self._fresh:
            self._started.ask()
        if self._services:
            self._served.ask()

    def leader_exited(self, inode: int, pid: int) -> None:
        """Look at the rest of a mission after the leader's exit."""
        shared = self.places[inode].shared
        if shared is not None:
            shared.forget(pid)
        self._look_soon(self.places[inode])

    def look_again(self) -> None:
        """Look at every unit."""
        for place in self.places.values():
            self._ask(place)

    def tell_again(self) -> Iterator[None]:
        """Tell of every mission once more, in steps."""
        for place in list(self.places.values()):
            for group, job in list(place.jobs.items()):
                seen = probe.of_job(place.unit, group, job.leader, job.application)
                if seen is not None and group in place.jobs and self._is_there(place):
                    self._tell(place.unit, seen)
                yield
        self.look_again()

    def members(self, sighting: Sighting) -> Members:
        """Return the live processes of a mission, and the control group where nobody else is inside."""
        kind, _, rest = sighting.key.partition("/")
        place = self.places[inode_of(sighting.key)]
        found: list[Stat] = []
        if kind == "job":
            job = place.jobs.get(int(rest.rpartition("/")[2]))
            if job is not None and place.shared is not None:
                strays = [shared for other, shared in self._others(place) if job.group in other.strays]
                for shared in (place.shared, *strays):
                    found += yield from shared.members(job)
            return found, None
        directory = self._mount / place.unit.path
        yield from _read_all(directory, found)
        return found, directory

    def close(self) -> None:
        """Look no more."""
        for pace in (self._started, self._exited, self._served, self._unnamed):
            pace.close()

    # --- when to look

    def _share(self, place: _Place, *, only_terminals: bool) -> None:
        place.shared = SharedCgroup(self._mount / place.unit.path, only_terminals=only_terminals)
        self._with_jobs[place.unit.path] = place
        self._shared.add(place.unit.inode)

    def _ask(self, place: _Place) -> None:
        if not place.is_waiting:
            place.is_waiting = True
            self._queue.add(lambda: self._look(place), self.uid)

    def _look_soon(self, place: _Place) -> None:
        """Look at a place once what just happened is over."""
        self._dirty.add(place.unit.inode)
        self._exited.ask()

    def _look_for_new(self) -> Iterator[None]:
        return self._look_at(self._shared | self._fresh)

    def _look_at_services(self) -> Iterator[None]:
        return self._look_at(set(self._services))

    def _look_at_unnamed(self) -> Iterator[None]:
        return self._look_at(self._shared | self._fresh | self._services)

    def _look_at_dirty(self) -> Iterator[None]:
        dirty, self._dirty = self._dirty, set()
        return self._look_at(dirty)

    def _look_at(self, inodes: set[int]) -> Iterator[None]:
        for inode in inodes:
            place = self.places.get(inode)
            if place is not None and not place.is_waiting:
                yield from self._look(place)

    def _is_there(self, place: _Place) -> bool:
        return self.places.get(place.unit.inode) is place

    def _look(self, place: _Place) -> Iterator[None]:
        """Look at a place in steps; one that ends meanwhile is looked at no further."""
        place.is_waiting = False
        if not self._is_there(place):
            return
        for _ in self._steps(place):
            yield
            if not self._is_there(place):
                return

    def _steps(self, place: _Place) -> Iterator[None]:
        if place.is_mission:
            yield from self._look_at_unit(place)
        if place.shared is not None:
            yield from self._look_at_jobs(place, place.shared)
        yield

    # --- what is there

    def _look_at_unit(self, place: _Place) -> Iterator[None]:
        unit = place.unit
        stats: list[Stat] = []
        yield from _read_all(self._mount / unit.path, stats)
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

    def _look_at_jobs(self, place: _Place, shared: SharedCgroup) -> Iterator[None]:
        found = yield from shared.look()
        yield from self._leave_out_strays(place, found)
        yield from self._look_for_moved(place, found)
        known = place.jobs
        for group, job in list(known.items()):
            now = found.get(group)
            if now is None or job.is_another(now):
                del known[group]
                self._sink.lost(probe.job_key(place.unit, group))
                self._look_for_strays(place, group)
                yield
        # first those that stay: a process that left one takes nothing of it along
        for group, job in sorted(found.items(), key=lambda item: item[0] not in known):
            before = known.get(group)
            if before is not None and not _looks_different(before.leader, job.leader):
                known[group] = job
            elif before is None and jobs.is_becoming(job.leader):
                self._unnamed.ask()
            else:
                seen = probe.of_job(place.unit, group, job.leader, job.application)
                if seen is not None:
                    known[group] = job
                    self._tell(place.unit, seen)
                else:  # it exited just now; others of its group may be left
                    self._look_soon(place)
                yield

    def _look_for_moved(self, place: _Place, found: dict[int, Job]) -> Iterator[None]:
        """Let a job that was moved be found where it is before it is lost here: so it stays what it is.

        What is left of one may also found a process group of its own, as daemon(3) and setsid(1) do.
        """
        known = place.jobs
        moved = {}
        for group in known.keys() - found.keys():
            if jobs.is_alive(known[group].leader):
                moved[group] = tree.of_process(known[group].leader.pid)
            yield
        for other in {self._place_of(path) for path in moved.values()}:
            if other is not None and other is not place:
                yield from self._find_moved(other, known, moved)
        leaders = {known[group].leader.pid for group in moved}
        for group, job in found.items() if moved else ():
            if group not in known and job.leader.pid in leaders:
                seen = probe.of_job(place.unit, group, job.leader, job.application)
                if seen is not None:
                    known[group] = job
                    self._tell(place.unit, seen)
        # where it is will be told of in a moment
        found |= {
            group: known[group] for group in moved if self._is_elsewhere(place, known[group].leader.pid)
        }

    def _find_moved(self, other: _Place, known: dict[int, Job], moved: dict[int, str]) -> Iterator[None]:
        there = {} if other.shared is None else (yield from other.shared.look())
        for group, job in there.items():
            if not self._is_there(other):
                return
            if group in moved and known[group].leader.pid == job.leader.pid:
                seen = probe.of_job(other.unit, group, job.leader, job.application)
                if seen is not None:
                    other.jobs[group] = job
                    self._tell(other.unit, seen)
                    del moved[group]
                yield

    def _leave_out_strays(self, place: _Place, found: dict[int, Job]) -> Iterator[None]:
        """Leave out jobs of other places: a job is where the process with the number of its group is.

        tmux(1) and terminals move the first process of a window to a scope once it runs, and a task's owner
        may be moved out of its session.
        """
        strays = set()
        for group in [group for group, job in found.items() if job.founded is None]:
            if self._is_elsewhere(place, group):
                strays.add(group)
                del found[group]
            yield
        place.strays = strays

    def _is_elsewhere(self, place: _Place, pid: int) -> bool:
        """Whether a process is in another place of the user's, which may not be known yet."""
        path = tree.of_process(pid) if jobs.read_live([pid]) else ""
        if tree.is_within(path, place.unit.path):
            return False
        return tree.shared_by(path) == place.unit.uid or self._place_of(path) is not None

    def _place_of(self, path: str) -> _Place | None:
        """Return the place of jobs that a path is, or is in."""
        while path and path not in self._with_jobs:
            path = path.rpartition("/")[0]
        return self._with_jobs.get(path)

    def _look_for_strays(self, place: _Place, group: int) -> None:
        """Look for the rest of an ended job in other places: there it is a job."""
        for other, _ in self._others(place):
            if group in other.strays:
                self._look_soon(other)

    def _others(self, place: _Place) -> Iterator[tuple[_Place, SharedCgroup]]:
        """Return the user's other places where jobs can be."""
        for other in self._with_jobs.values():
            if other.shared is not None and other is not place:
                yield other, other.shared


def inode_of(key: str) -> int:
    """Return the inode of the unit in the key of a mission; -1 where there is none."""
    kind, _, rest = key.partition("/")
    return -1 if kind == "process" else int(rest.partition("/")[0])


def _read_all(directory: Path, found: list[Stat]) -> Iterator[None]:
    """Add the live processes of a control group and all below, in small steps."""
    for pids in tree.processes_by_group(directory):
        for pid in pids:
            found += jobs.read_live([pid])
            yield
        yield


def _is_terminal(unit: Unit) -> bool:
    application = application_of(unit.name)
    entry = desktop_entries.find(application) if application is not None else None
    return entry is not None and entry.is_terminal


def _looks_different(before: Stat, now: Stat) -> bool:
    return (before.pid, before.start_ticks, before.name) != (now.pid, now.start_ticks, now.name)
