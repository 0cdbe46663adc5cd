# SPDX-License-Identifier: Apache-2.0
"""The unified control group hierarchy, cgroups(7), with the units, systemd.slice(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from missiond.host.cgroups.units import application_of
from missiond.host.processes.tree import unified
from missiond.host.users import desktop_entries

_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_USER_SLICE = re.compile(r"user-([0-9]{1,10})\.slice")
_IN_USER_SLICE = re.compile(r"user\.slice/user-([0-9]{1,10})\.slice(?:/|$)")
_SESSION = re.compile(r"session-(.+)\.scope")
_KEEPER = "missiond-keep@"
_TERMINAL_TABS = ("vte-spawn-", "tmux-spawn-")
_USER_UNITS = (
    Path("/etc/systemd/user"),
    Path("/run/systemd/user"),
    Path("/usr/local/lib/systemd/user"),
    Path("/usr/lib/systemd/user"),
    Path("/lib/systemd/user"),
)
DEPTH = 32
"""How deep the groups in a group are looked into."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A scope or service. `path` is below the mount, `inode` unique in this boot.

    `uid` is whose slice it is in; None for a service of the host's.
    """

    path: str
    name: str
    uid: int | None
    inode: int

    @property
    def session(self) -> str:
        """The id of the login session; empty where the unit is none."""
        match = _SESSION.fullmatch(self.name)
        return match[1] if match else ""

    @property
    def is_shared(self) -> bool:
        """Whether the unit is a place for a person's programs rather than a program."""
        return self.uid is not None and (
            bool(self.session) or self.name.startswith((_KEEPER, *_TERMINAL_TABS))
        )

    @property
    def is_keeper(self) -> bool:
        """Whether the unit is for processes moved out of sessions (`daemon.keepalive.session_end`)."""
        return self.name.startswith(_KEEPER)

    @property
    def may_hold_programs(self) -> bool:
        """Whether other programs started by the first process may be in the unit.

        They may in services of people but those that are applications: these are all that they have started.
        """
        return self.uid is not None and not self.is_shared and is_plain_service(self.name)

    @property
    def is_mission(self) -> bool:
        """Whether the unit is a program of a person: an application, or a transient unit.

        What the user's manager cannot be asked by another user is told from names: a scope is always
        transient, and so is a service, unless the host has a unit file of that name for all users.
        """
        if self.uid is None:
            return True  # nobody would look at it otherwise
        if self.is_shared or self.name == "init.scope":
            return False
        if self.name.startswith("app-") or self.name.endswith(".scope"):
            return True
        if self.name.startswith("dbus-:"):  # of a bus's broker, which starts much that is no application
            entry = desktop_entries.find(application_of(self.name) or "")
            return entry is not None and entry.is_application
        return not self.name.startswith("user@") and not _is_installed(self.name)


def is_plain_service(name: str) -> bool:
    """Whether the name is a service's but no application's (`units.application_of`)."""
    return name.endswith(".service") and not name.startswith(("app-", "dbus-:", "user@", "snap."))


def _is_installed(name: str) -> bool:
    stem, at, _ = name.partition("@")
    names = [name, f"{stem}@.service"] if at else [name]
    return any(os.path.lexists(directory / each) for directory in _USER_UNITS for each in names)


def mount() -> Path | None:
    """Where the unified hierarchy is, perhaps beside the older one; None where there is none."""
    return next((path for path in _MOUNTS if (path / "cgroup.controllers").exists()), None)


@dataclass(frozen=True, slots=True)
class Place:
    """The kind of a directory of the hierarchy: a user's, one to look into, a unit, or neither."""

    uid: int | None = None
    inner: bool = False
    unit: str = ""


def place_of(path: str, services: Collection[str] = ()) -> Place:
    """Tell from a path below the mount; `services` are the host's, beside the units of people."""
    parts = path.split("/")
    if parts[0] == "system.slice" and services:
        return _system_place(parts, services)
    if parts == ["user.slice"]:
        return Place(inner=True)
    return _user_place(parts) if parts[0] == "user.slice" else Place()


def user_of(path: str) -> int | None:
    """Return the uid of the slice around a path; None outside of all."""
    match = _IN_USER_SLICE.match(path)
    return None if match is None else int(match[1])


def _user_place(parts: list[str]) -> Place:
    match = _USER_SLICE.fullmatch(parts[1])
    if match is None:
        return Place()
    uid = int(match[1])
    name = parts[-1].removeprefix("_")
    # a unit's own groups are its own business, save those of the user's manager, which are units again
    if any(part.endswith((".service", ".scope")) for part in parts[2:-1] if part != f"user@{uid}.service"):
        return Place()
    if name.endswith(".slice") or name == f"user@{uid}.service":
        return Place(uid, inner=True)
    return Place(uid, unit=name if name.endswith((".service", ".scope")) else "")


def _system_place(parts: list[str], services: Collection[str]) -> Place:
    name = parts[-1].removeprefix("_")
    if name.endswith(".slice"):
        return Place(inner=True)
    return Place(unit=name if name in services and parts[-2].endswith(".slice") else "")


def shared_by(path: str) -> int | None:
    """Return the uid of the shared unit at or around a path; None where the names tell of none."""
    parts = path.split("/")
    for count in range(2, len(parts) + 1):
        place = place_of("/".join(parts[:count]))
        if place.unit:
            return place.uid if Unit(path, place.unit, place.uid, 0).is_shared else None
    return None


def is_within(path: str, other: str) -> bool:
    """Whether a path is another one, or below."""
    return f"{path}/".startswith(f"{other}/")


def state(directory: Path) -> tuple[bool, bool]:
    """Return whether a group has live processes, and whether frozen. Raises OSError for one gone."""
    text = (directory / "cgroup.events").read_bytes()
    return b"populated 1" in text, b"frozen 1" in text


def of_process(pid: int) -> str:
    """Return the path of a process's group; empty where the process is gone, or in none."""
    try:
        return unified(Path(f"/proc/{pid}/cgroup").read_bytes())
    except OSError:
        return ""


def processes(directory: Path, depth: int = DEPTH) -> list[int]:
    """Return the pids in a group and the groups below; none of a group gone."""
    return [pid for pids in processes_by_group(directory, depth) for pid in pids]


def processes_by_group(directory: Path, depth: int = DEPTH) -> Iterator[list[int]]:
    """Yield the pids in a group, and in each of the groups below, read one group at a time."""
    try:
        # 0 stands for a process of another pid namespace
        yield [pid for pid in map(int, (directory / "cgroup.procs").read_bytes().split()) if pid > 0]
    except OSError:
        yield []
    if depth > 0:
        for name in each_child(directory):
            yield from processes_by_group(directory / name, depth - 1)


def children(directory: Path) -> list[str]:
    """Return the names of the groups in a group; none once gone."""
    return list(each_child(directory))


def each_child(directory: Path) -> Iterator[str]:
    """Yield the names of the groups in a group, read one by one."""
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name
    except OSError:
        return
