# SPDX-License-Identifier: Apache-2.0
"""The description of the process at the head of a mission."""

from __future__ import annotations

import os
from collections.abc import Sequence

from missiond.core.missions.missions import FROZEN, RUNNING, Leader, Sighting
from missiond.host.cgroups.tree import Unit
from missiond.host.cgroups.units import application_of, printable
from missiond.host.processes import applications, executables, jobs, stat
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.processes.stat import Stat
from missiond.host.users import desktop_entries

_UNKNOWN = "unknown"


def of_unit(unit: Unit, leader: Stat, *, frozen: bool) -> Sighting | None:
    """Describe a unit as a mission; None where the leader is gone."""
    state = FROZEN if frozen else RUNNING
    return _describe(f"unit/{unit.inode}", unit, leader, application_of(unit.name), state)


def of_job(unit: Unit, group: int, leader: Stat, application: str | None = None) -> Sighting | None:
    """Describe a job; None where the leader is gone, or has just become another program."""
    seen = _describe(job_key(unit, group), unit, leader, application, RUNNING)
    return None if jobs.became_another(leader) else seen


def job_key(unit: Unit, group: int) -> str:
    """Key of a job."""
    return f"job/{unit.inode}/{group}"


def of_process(pid: int, argv: Sequence[str] = ()) -> Sighting:
    """Describe a registered process; raises ProcessLookupError.

    Where it only executes another program, that is the one of `argv`, as far as it was said.
    """
    becomes = argv[0] if argv and jobs.is_wrapper(pid) else ""
    with ProcDirectory(pid) as directory:
        program = (becomes and _shown(executables.resolved(becomes))) or _program(directory)
        cgroups = directory.read("cgroup")
        name, app_id = applications.of_process(directory)
        if becomes and app_id == _program(directory):
            app_id = program
        leader = Leader(pid, directory.start_ticks())
        uid = directory.uid()
    entry = desktop_entries.find(app_id)
    return Sighting(
        key=f"process/{leader.pid}/{leader.start_ticks}",
        leader=leader,
        uid=uid,
        app_id=app_id,
        label=entry.name if entry is not None and entry.name else program,
        icon=entry.icon if entry is not None else "",
        started=stat.started(leader.start_ticks),
        unit=name or "",
        system=name is not None and (name == "init.scope" or b"/user.slice/" not in cgroups),
    )


def _describe(key: str, unit: Unit, leader: Stat, application: str | None, state: str) -> Sighting | None:
    try:
        with ProcDirectory(leader.pid) as directory:
            program = _program(directory)
            uid = directory.uid()
            if directory.start_ticks() != leader.start_ticks:
                return None
    except (OSError, ValueError):
        return None
    app_id = application or program
    entry = desktop_entries.find(app_id)
    return Sighting(
        key=key,
        leader=Leader(leader.pid, leader.start_ticks),
        uid=uid,
        app_id=app_id,
        label=(entry.name if entry is not None else "") or program,
        icon=entry.icon if entry is not None else "",
        started=stat.started(leader.start_ticks),
        cgroup="/" + _text(unit.path),
        unit=_text(unit.name),
        session=_text(unit.session),
        state=state,
        system=unit.uid is None,
    )


def _text(name: str) -> str:
    """Make what people may call a directory fit for the bus."""
    return os.fsencode(name).decode("utf-8", "replace")


def _program(directory: ProcDirectory) -> str:
    """Return the program's name; before it is executed, systemd writes its name in parentheses."""
    return _shown(executables.program_of(directory)).strip("()") or _UNKNOWN


def _shown(program: str) -> str:
    return printable(program.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
