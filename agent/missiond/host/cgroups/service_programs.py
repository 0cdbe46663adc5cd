# SPDX-License-Identifier: Apache-2.0
"""Other programs in the control group of a service.

A compositor that is a service of the user starts what people ask it for in its own control group, and so do
editors and servers; dbus-daemon(1) does with what it activates. What is in another session (setsid(2)) than
the first process of the service was started as a program of its own, unless it is a fork of that process, as
servers make some for their work. The bus makes no sessions: there it is every program whose parent is none of
them. Groups within that of the service are its own business.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path

from missiond.host.cgroups import tree
from missiond.host.processes import jobs
from missiond.host.processes.bus_services import BusServices
from missiond.host.processes.executables import program_of
from missiond.host.processes.jobs import Job, SharedCgroup
from missiond.host.processes.procfs import ProcDirectory, parse_real_uid
from missiond.host.processes.stat import Stat

_BUSES = frozenset(b"dbus-daemon dbus-broker dbus-broker-lau".split())
_bus_services = BusServices()


class ServiceCgroup(SharedCgroup):
    """The control group of a user's service; the jobs are other programs in the group."""

    def __init__(self, directory: Path, services: BusServices = _bus_services) -> None:
        super().__init__(directory, depth=0)
        self._services = services
        self._main: Stat | None = None

    def _jobs(self, stats: list[Stat]) -> Generator[None, None, dict[int, Job]]:
        if not stats:
            return {}
        main = self._main = _now(self._main, stats)
        if main.name in _BUSES:
            return (yield from self._of_bus(main, stats))
        return (yield from super()._jobs([stat for stat in stats if not _is_of(main, stat)]))

    def members(self, job: Job) -> Generator[None, None, list[Stat]]:
        """Return the live processes of one program, as of now."""
        if job.application is None:
            return (yield from super().members(job))
        return jobs.family(job.leader.pid, job.leader.start_ticks)

    def _of_bus(self, main: Stat, stats: list[Stat]) -> Generator[None, None, dict[int, Job]]:
        """Find applications alone: most of what a bus starts is none."""
        found = {}
        for root in _roots(main, stats):
            yield
            application = self._services.application(jobs.argv_of(root.pid))
            if application is not None:
                found[root.pid] = Job(root.pid, root, root.start_ticks, application)
        return found


def application_in(process: ProcDirectory, path: str, unit: str) -> str | None:
    """Name the application of a process in a service; None where the process is the service's own.

    `path` is the control group, below the mount of the hierarchy. In a service of the host a program of its
    own is another user's as well: cron(8), at(1) and display managers start such. May hold any character.
    Raises ProcessLookupError.
    """
    mount = tree.mount()
    if mount is None or path.rpartition("/")[2].removeprefix("_") != unit:
        return None
    if not tree.is_plain_service(unit):
        return None
    stats = {stat.pid: stat for stat in jobs.read_live(tree.processes(mount / path, 0))}
    own = stats.get(process.pid)
    return None if own is None else _application_among(stats, own, process, path.startswith("user.slice/"))


def _application_among(
    stats: Mapping[int, Stat], own: Stat, process: ProcDirectory, is_of_user: bool
) -> str | None:
    main = jobs.oldest(stats.values())
    if main.name in _BUSES:
        root = _root(own, main, stats)
        if root is main:
            return None
        return _bus_services.application(jobs.argv_of(root.pid)) or program_of(process)
    if _is_of(main, own) or (not is_of_user and _uid(main.pid) in (_uid(own.pid), None)):
        return None
    return program_of(process)


def _is_of(main: Stat, stat: Stat) -> bool:
    """Whether a process is part of the service itself."""
    return stat.session == main.session or (stat.is_fork and stat.name == main.name)


def _now(main: Stat | None, stats: list[Stat]) -> Stat:
    """Return the first process as it is now, or as it was when it is gone."""
    if main is None:
        return jobs.oldest(stats)
    known = (main.pid, main.start_ticks)
    return next((stat for stat in stats if (stat.pid, stat.start_ticks) == known), main)


def _roots(main: Stat, stats: Iterable[Stat]) -> list[Stat]:
    by_pid = {stat.pid: stat for stat in stats}
    return [stat for stat in by_pid.values() if stat is not main and _root(stat, main, by_pid) is stat]


def _root(stat: Stat, main: Stat, by_pid: Mapping[int, Stat]) -> Stat:
    """Return what was started by the bus, or by what watches over it for the bus; `main` for these."""
    if stat.name == main.name:
        return main
    for _ in by_pid:
        parent = by_pid.get(stat.parent)
        if parent is None or parent.name == main.name:
            break
        stat = parent
    return stat


def _uid(pid: int) -> int | None:
    try:
        with ProcDirectory(pid) as directory:
            return parse_real_uid(directory.read("status"))
    except (OSError, ValueError):
        return None
