# SPDX-License-Identifier: Apache-2.0
"""logind's part in a logout (logind.conf(5), org.freedesktop.login1(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.variants import unwrap

_NAME = "org.freedesktop.login1"
_PATH = "/org/freedesktop/login1"
_PATIENCE = 10.0
_SYSTEMD = "org.freedesktop.systemd1"
_UNITS = "/org/freedesktop/systemd1/unit/"

_LIMITS = ("RuntimeMaxUSec", "MemoryMax", "MemoryHigh", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec")
"""Limits of a scope (org.freedesktop.systemd1(5)); without one each is NO_LIMIT, or not there."""

_NO_LIMIT = 2**64 - 1

_NO_SUCH = (
    "org.freedesktop.login1.NoSuchSession",
    "org.freedesktop.login1.NoSuchUser",
    "org.freedesktop.DBus.Error.UnknownObject",
)


class LoginsUnknown(Exception):
    """logind does not say; the text says why."""


class _NoSuch(LoginsUnknown):
    """It says that there is none."""


@dataclass(frozen=True, slots=True)
class LoginSession:
    """A login session: the leading process, and whether the session is about to end."""

    leader: int
    closing: bool


class Logins:
    """Questions to logind; every method raises LoginsUnknown without answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def kills(self, uid: int) -> bool:
        """Return whether the end of a user's session is the end of all processes in the session."""
        manager = await self._properties(_PATH, "Manager")
        name = (await self._user(uid)).get("Name", "")
        # As logind decides, in this order.
        if name in manager["KillExcludeUsers"] or (name == "root" and not manager["KillExcludeUsers"]):
            return False
        if manager["KillOnlyUsers"]:
            return name in manager["KillOnlyUsers"]
        return bool(manager["KillUserProcesses"])

    async def lingers(self, uid: int) -> bool:
        """Whether the user's own service manager stays when the last session ends."""
        return bool((await self._user(uid)).get("Linger", False))

    async def session(self, session_id: str) -> LoginSession | None:
        """Return a session; None where there is no such session any more."""
        try:
            [path] = await self._call(_PATH, f"{_NAME}.Manager", "GetSession", "s", session_id)
            found = await self._properties(path, "Session")
        except _NoSuch:
            return None
        return LoginSession(int(found["Leader"]), found["State"] == "closing")

    async def is_limited(self, scope: str) -> bool:
        """Return whether a session's scope has limits, as set by session-.scope.d or pam_systemd(8).

        On memory, swap, processes, processor time, or on how long it lasts.
        """
        path = _UNITS + re.sub("[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):02x}", scope)
        try:
            found = await self._properties(path, "Scope", _SYSTEMD)
        except _NoSuch:
            return False
        return any(found.get(name, _NO_LIMIT) != _NO_LIMIT for name in _LIMITS)

    async def _user(self, uid: int) -> dict[str, Any]:
        """Properties of a user; none where nobody of that uid is there."""
        try:
            [path] = await self._call(_PATH, f"{_NAME}.Manager", "GetUser", "u", uid)
            return await self._properties(path, "User")
        except _NoSuch:
            return {}

    async def _properties(self, path: str, interface: str, name: str = _NAME) -> dict[str, Any]:
        properties = "org.freedesktop.DBus.Properties"
        [found] = await self._call(path, properties, "GetAll", "s", f"{name}.{interface}", name)
        return {key: unwrap(value) for key, value in found.items()}

    async def _call(
        self, path: str, interface: str, member: str, signature: str, value: object, name: str = _NAME
    ) -> list[Any]:
        try:
            return await self._connection.call(
                name, path, interface, member, signature, (value,), timeout=_PATIENCE
            )
        except CallTimeout as error:
            raise LoginsUnknown(str(error)) from None
        except RemoteError as error:
            kind = _NoSuch if error.name in _NO_SUCH else LoginsUnknown
            raise kind(str(error)) from None
