# SPDX-License-Identifier: Apache-2.0
"""State of missiond-peers.service, as systemd tells (org.freedesktop.systemd1(5))."""

from __future__ import annotations

from enum import Enum
from typing import Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.variants import unwrap

UNIT = "missiond-peers.service"
_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_PATIENCE = 5.0


class PeerServiceState(Enum):
    """In a word."""

    OFF = "off"
    STARTING = "starting"
    FAILED = "failed"


async def look(connection: Connection) -> PeerServiceState:
    """Return the state of the service while the name has no owner; OFF where nobody can tell."""
    try:
        [path] = await _call(connection, _PATH, f"{_NAME}.Manager", "LoadUnit", UNIT)
        [unit] = await _call(connection, path, _PROPERTIES, "GetAll", f"{_NAME}.Unit")
        [service] = await _call(connection, path, _PROPERTIES, "GetAll", f"{_NAME}.Service")
    except (RemoteError, CallTimeout):
        return PeerServiceState.OFF
    return _judged(unwrap(unit) | unwrap(service))


def _judged(found: dict[str, object]) -> PeerServiceState:
    state = found.get("ActiveState")
    if state == "failed":
        # it stays so after `systemctl disable --now`
        return PeerServiceState.FAILED if found.get("UnitFileState") == "enabled" else PeerServiceState.OFF
    if state not in ("activating", "active", "reloading"):
        return PeerServiceState.OFF
    again = found.get("NRestarts", 0) != 0 or found.get("SubState") == "auto-restart"
    return PeerServiceState.FAILED if again else PeerServiceState.STARTING


async def _call(connection: Connection, path: str, interface: str, member: str, about: str) -> list[Any]:
    return await connection.call(
        _NAME, path, interface, member, "s", (about,), timeout=_PATIENCE, no_auto_start=True
    )
