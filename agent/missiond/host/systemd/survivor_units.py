# SPDX-License-Identifier: Apache-2.0
"""missiond-keep@UID.service: holds a user's login, with room for processes to outlive a logout.

It is a unit of the system's manager (org.freedesktop.systemd1(5)); a rule of polkit's lets the agent start
and stop units of this name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.helper.paths import KEEPER

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_PATIENCE = 20.0
"""Seconds for a unit to start."""


class KeepFailed(Exception):
    """The unit was not started or stopped; the text says why."""


class KeepUnits:
    """Starts and stops of these units, through a connection for each job.

    systemd tells only those who subscribed how a job went, and others on a connection may want to hear of
    units for longer.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect

    async def start(self, uid: int) -> None:
        """Start the unit of a user; raises KeepFailed."""
        async with _Asking(self._connect) as connection:
            results: dict[str, str] = {}
            more = asyncio.Event()

            def removed(_id: int, path: str, _unit: str, result: str) -> None:
                results[path] = result
                more.set()

            await connection.add_signal(
                sender=_NAME, interface=_MANAGER, member="JobRemoved", path=_PATH, callback=removed
            )
            await _call(connection, "Subscribe", "", ())
            [job] = await _call(connection, "StartUnit", "ss", (KEEPER.format(uid), "replace"))
            async with asyncio.timeout(_PATIENCE):
                while job not in results:
                    more.clear()
                    await more.wait()
            if results[job] != "done":
                raise KeepFailed(f"{KEEPER.format(uid)}: {results[job]}")

    async def stop(self, uid: int) -> None:
        """Stop the unit of a user, and everything inside, as a logout would; raises KeepFailed."""
        async with _Asking(self._connect) as connection:
            await _call(connection, "StopUnit", "ss", (KEEPER.format(uid), "replace"))


class _Asking:
    """A connection for as long as it is needed; what fails on it is KeepFailed."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        try:
            self._connection = await self._connect()
        except (OSError, RemoteError, CallTimeout) as error:
            raise KeepFailed(str(error)) from None
        return self._connection

    async def __aexit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if self._connection is not None:
            await self._connection.close()
        if isinstance(error, RemoteError | CallTimeout | TimeoutError):
            raise KeepFailed(str(error) or "systemd does not answer") from None


async def _call(connection: Connection, member: str, signature: str, body: tuple[Any, ...]) -> list[Any]:
    return await connection.call(_NAME, _PATH, _MANAGER, member, signature, body, timeout=_PATIENCE)
