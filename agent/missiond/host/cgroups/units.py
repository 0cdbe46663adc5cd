# SPDX-License-Identifier: Apache-2.0
"""The unit and the application behind a cgroup.

Sources: cgroups(7) for /proc/PID/cgroup, systemd.unit(5) for unit names and their escapes, systemd's "Desktop
Environment Integration" for the names of application units, and snapd for those of snaps (security tags).
"""

from __future__ import annotations

import re

NAME_LENGTH = 255
"""Most characters of an application's name (a file name has no more bytes)."""

_UNIT = re.compile(rb"(?=.{1,255}\Z)[A-Za-z0-9:_.\\@-]+\.(?:service|scope)")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
_KEEPER = b"missiond-keep@"
_DELETED = b" (deleted)"
_DBUS_ACTIVATED = re.compile(r"dbus-:[0-9.]+-(?P<name>.+)")
_USER_MANAGER = re.compile(rb"user@[0-9]{1,10}\.service")
_SNAP = re.compile(
    r"snap\.(?P<snap>[a-z0-9-]+)(?:_(?P<key>[a-z0-9]+))?\.(?P<app>[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*)"
)
_SNAP_RUN = re.compile(r"[-.][0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_RANDOM = re.compile(r"[0-9]+|(?=[^0-9]*[0-9])[0-9a-f]{8,}")


def unit_of(cgroup_file: bytes) -> str | None:
    """Name the service or scope in the content of /proc/PID/cgroup; None where there is none.

    It is the outermost, but for the manager of a user, whose units are units again: what a program calls its
    own groups, and units of a container with a systemd of its own, are that program's business. systemd's own
    hierarchy (`name=systemd`, on hosts with cgroup v1 or both) goes before the unified one.
    A path may be relative to the reader's cgroup namespace (`/../..`).
    """
    paths = {b"name=systemd": b"", b"": b""}
    for line in cgroup_file.split(b"\n"):
        fields = line.split(b":", 2)
        if len(fields) == 3 and fields[1] in paths:
            paths[fields[1]] = fields[2]
    for path in paths.values():
        # systemd puts "_" before a name that the kernel could take for a file of its own.
        names = [part.removeprefix(b"_") for part in path.removesuffix(_DELETED).split(b"/")]
        units = [name for name in names if _UNIT.fullmatch(name)]
        if units:
            inner = units[1:] and _USER_MANAGER.fullmatch(units[0])
            name = units[1 if inner else 0]
            # What is kept there was started elsewhere, and is no part of that unit.
            return None if name.startswith(_KEEPER) else name.decode("ascii")
    return None


def application_of(unit: str) -> str | None:
    """Name the application of a unit; None where the unit does not tell (a session's scope, for example).

    `app[-<launcher>]-<ApplicationID>-<RANDOM>.scope` and
    `app[-<launcher>]-<ApplicationID>[@<RANDOM>].service` give ApplicationID, so does
    `dbus-:1.2-<ApplicationID>@0.service` of a D-Bus broker; `snap.<SNAP>.<APP>-<UUID>.scope` and
    `snap.<SNAP>.<APP>.service` give SNAP_APP, which is what the desktop files of snaps are called; any other
    service gives its name without the instance.
    """
    name, _, kind = unit.rpartition(".")
    snap = _SNAP.fullmatch(_SNAP_RUN.sub("", unescape(name))) if kind in ("scope", "service") else None
    if snap is not None:
        instance = f"{snap['snap']}+{snap['key']}" if snap["key"] else snap["snap"]
        return printable(f"{instance}_{snap['app']}")
    stem, at, _ = name.partition("@")
    if stem.startswith("app-"):
        parts = stem.removeprefix("app-").split("-")
        if kind == "scope" and not at:
            application = _scope_application(parts)
        else:
            application = _service_application(parts, instance=bool(at))
    elif kind == "service":
        match = _DBUS_ACTIVATED.fullmatch(stem)
        application = match["name"] if match else stem
    else:
        return None
    return printable(unescape(application)) or None


def printable(name: str) -> str:
    """Replace every unprintable character by "_", and cut at NAME_LENGTH."""
    return "".join(char if char.isprintable() else "_" for char in name[:NAME_LENGTH])


def unescape(name: str) -> str:
    r"""Undo `\xHH` of systemd-escape(1)."""
    raw = name.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), raw).decode("utf-8", "surrogateescape")


def _scope_application(parts: list[str]) -> str:
    """Of `[launcher-]id-random`; a "-" within the id is escaped, save by careless launchers."""
    named = parts[:-1] or parts
    return "-".join(named[1:] or named)


def _service_application(parts: list[str], *, instance: bool) -> str:
    """Of `[launcher-]id`, or of `[launcher-]id-random` as some desktops have it without one."""
    if len(parts) > 1 and not instance and _is_random(parts[-1]):
        parts = parts[:-1]
    return "-".join(parts[1:] or parts)


def _is_random(part: str) -> bool:
    return _RANDOM.fullmatch(part) is not None
