# SPDX-License-Identifier: Apache-2.0
"""The unit and application of a process: for tasks, quotas and registrations alike."""

from __future__ import annotations

from missiond.host.cgroups import service_programs
from missiond.host.cgroups.units import application_of, printable, unit_of
from missiond.host.processes.executables import program_of
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.processes.tree import unified

_UNKNOWN = "unknown"


def of_process(process: ProcDirectory) -> tuple[str | None, str]:
    """Name the unit, None where there is none, and the application: printable, 1 to 255 characters.

    The application is the unit's, where the unit tells; else it is the program. Raises ProcessLookupError.
    """
    cgroups = process.read("cgroup")
    unit = unit_of(cgroups)
    name = application_of(unit) if unit is not None else None
    if unit is not None and name is not None:
        name = service_programs.application_in(process, unified(cgroups), unit) or name
    return unit, printable(name or program_of(process)) or _UNKNOWN
