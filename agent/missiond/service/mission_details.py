# SPDX-License-Identifier: Apache-2.0
"""Dictionaries of GetMissionInfo and GetMissionSnapshot."""

from __future__ import annotations

from typing import Any

from missiond.bus.variants import variant
from missiond.core.missions.missions import Mission
from missiond.daemon.missions.snapshots import Snapshot
from missiond.host.processes.procfs import ProcDirectory

_ARGV = 65536


def describe(mission: Mission) -> dict[str, Any]:
    """Return the dictionary of GetMissionInfo."""
    seen, registration = mission.seen, mission.registration
    argv = list(registration.argv) if registration is not None and registration.argv else _argv(mission)
    want: dict[str, Any] = {}
    if registration is not None and registration.cwd:
        want["cwd"] = variant("s", registration.cwd)
    if registration is not None and registration.environment:
        want["environment"] = variant("as", list(registration.environment))
    if registration is not None and registration.dropped:
        want["environment-dropped"] = variant("as", list(registration.dropped))
    return {
        "mission-id": variant("u", mission.id),
        "label": variant("s", mission.label),
        "icon": variant("s", mission.icon),
        "app-id": variant("s", seen.app_id),
        "pid": variant("u", seen.leader.pid),
        "uid": variant("u", seen.uid),
        "running-state": variant("s", seen.state),
        "locked": variant("b", mission.locked),
        "continuable": variant("b", mission.continuable),
        "tag": variant("i", mission.tag),
        "started": variant("t", seen.started),
        "argv": variant("as", argv),
        "unit": variant("s", seen.unit),
        "cgroup": variant("s", seen.cgroup),
        "session": variant("s", seen.session),
        "origin": variant("s", "" if registration is None else registration.origin),
        "want": variant("a{sv}", want),
    }


def snapshot(taken: Snapshot, state: str) -> dict[str, Any]:
    """Return the dictionary of GetMissionSnapshot, without values unknown on this host."""
    used = taken.usage
    values = {
        "taken": variant("t", taken.taken),
        "cpu": variant("d", round(taken.cpu, 3)),
        "memory": variant("t", used.memory),
        "threads": variant("u", used.threads),
        "state": variant("s", state),
        "children": variant("u", used.processes - 1),
    }
    if used.read_bytes is not None and used.write_bytes is not None:
        values["read-bytes"] = variant("t", used.read_bytes)
        values["write-bytes"] = variant("t", used.write_bytes)
    return values


def _argv(mission: Mission) -> list[str]:
    """Read the leader's command line; what is not UTF-8 in it is replaced."""
    leader = mission.seen.leader
    try:
        with ProcDirectory(leader.pid) as directory:
            text = directory.of_program("cmdline", _ARGV)
            if directory.start_ticks() != leader.start_ticks:
                return []
    except (OSError, ValueError):
        return []
    return [word.decode("utf-8", "replace") for word in text.removesuffix(b"\0").split(b"\0")] if text else []
