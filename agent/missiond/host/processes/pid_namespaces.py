# SPDX-License-Identifier: Apache-2.0
"""Pids as seen by processes with an own pid namespace (pid_namespaces(7)).

Sandboxes, containers and services with PrivatePIDs= count their processes from 1: the same number is another
process out here. NSpid of /proc/PID/status says how a process is counted in each namespace that it is in.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from missiond.host.processes.procfs import ProcDirectory

_PROC = Path("/proc")


class UnknownNumber(LookupError):
    """A number in another pid namespace, of nobody known here."""


class Counted(NamedTuple):
    """The `numbers` of a process, from here inwards, and the parent's pid here."""

    numbers: tuple[int, ...]
    parent: int


def counted(pid: int, proc: Path = _PROC) -> Counted:
    """Look at a process; raises ProcessLookupError where there is none."""
    with ProcDirectory(pid, proc) as directory:
        lines = directory.read("status").decode(errors="replace").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    numbers = tuple(int(word) for word in fields.get("NSpid", str(pid)).split())
    return Counted(numbers, int(fields.get("PPid", "0")))


def meant_by(caller: int, pid: int, proc: Path = _PROC) -> int:
    """Return the pid here of the process meant by a caller's `pid`.

    A caller of this namespace means that very one. One of a deeper namespace means itself by either number,
    or one that it came from. Raises UnknownNumber for any other number of such a caller's: it may not even
    know that it is counted otherwise, so that nobody else is to be taken for what it means. Raises
    ProcessLookupError where the caller is gone.
    """
    depth = len(counted(caller, proc).numbers)
    if depth == 1 or pid == caller:
        return pid
    at = caller
    while at > 0:
        numbers, parent = counted(at, proc)
        if len(numbers) != depth:
            break
        if numbers[-1] == pid:
            return at
        at = parent
    raise UnknownNumber(f"process {pid} is none that process {caller} came from")
