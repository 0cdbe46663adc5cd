# SPDX-License-Identifier: Apache-2.0
"""The processes that belong to a process: those of its unit, or else its descendants."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from missiond.host.procfs import ProcDirectory
from missiond.host.units import unit_of

CGROUPS = Path("/sys/fs/cgroup")
MOST = 4096
"""Most processes that are looked at for one task."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process; `parent` is a pid, `score` its oom_score_adj, `cgroup` a path such as `user.slice/...`."""

    pid: int
    start_ticks: int
    parent: int
    score: int
    cgroup: str


def look(pid: int) -> Member:
    """Look at one process; raises ProcessLookupError where it is gone."""
    with ProcDirectory(pid) as directory:
        fields = directory.read("stat").rpartition(b")")[2].split()
        score = int(directory.read("oom_score_adj"))
        return Member(pid, int(fields[19]), int(fields[1]), score, unified(directory.read("cgroup")))


def unified(cgroup_file: bytes) -> str:
    """Path in the unified hierarchy (cgroups(7)) without its first slash; empty where there is none."""
    for line in cgroup_file.split(b"\n"):
        if line.startswith(b"0::/"):
            path = line[4:].decode("utf-8", "surrogateescape").removesuffix(" (deleted)")
            return "" if ".." in path.split("/") else path
    return ""


def unit_cgroup(path: str) -> str | None:
    """Cut a path after its innermost unit that is one application's: a service, or a scope of its own.

    None for a login session, a user's manager and systemd itself, where many programs live.
    """
    unit = unit_of(b"0::/" + path.encode("utf-8", "surrogateescape"))
    if unit is None or unit == "init.scope" or unit.startswith(("session-", "user@")):
        return None
    parts = path.split("/")
    last = max(index for index, part in enumerate(parts) if part.removeprefix("_") == unit)
    return "/".join(parts[: last + 1])


def tree_of(pid: int, start_ticks: int) -> list[Member]:
    """The process and what belongs to it, at most MOST; empty where it is gone.

    All of its unit where it is the unit's first process (its parent is outside), else its descendants.
    """
    try:
        root = look(pid)
    except OSError:
        return []
    if root.start_ticks != start_ticks:
        return []
    unit = unit_cgroup(root.cgroup)
    if unit is not None and not _inside(root.parent, unit):
        found = looked(cgroup_pids(unit))
        return found if root in found else [root, *found]
    return [root, *descendants(pid)]


def around(cgroup: str) -> list[Member]:
    """All of a cgroup, where descendants of a process that is gone may be."""
    return looked(cgroup_pids(cgroup)) if cgroup else []


def descendants(pid: int) -> list[Member]:
    """Children, their children and so on, at most MOST."""
    found: dict[int, Member] = {}
    waiting = [pid]
    while waiting and len(found) < MOST:
        for member in looked(_children(waiting.pop())):
            if member.pid not in found:
                found[member.pid] = member
                waiting.append(member.pid)
    return list(found.values())


def cgroup_pids(path: str, root: Path = CGROUPS) -> list[int]:
    """Pids of the cgroup and all below it, at most MOST."""
    pids: list[int] = []
    for directory, _, files in os.walk(root / path):
        if "cgroup.procs" in files:
            with contextlib.suppress(OSError):
                pids += map(int, Path(directory, "cgroup.procs").read_bytes().split())
        if len(pids) >= MOST:
            break
    return pids[:MOST]


def looked(pids: list[int]) -> list[Member]:
    """Look at those that still are."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            found.append(look(pid))
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 (names are enough)
            with contextlib.suppress(OSError):
                children += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_bytes().split())
    return children


def _inside(pid: int, unit: str) -> bool:
    if pid <= 0:
        return False
    try:
        path = look(pid).cgroup
    except OSError:
        return False
    return path == unit or path.startswith(unit + "/")
