# SPDX-License-Identifier: Apache-2.0
"""The name of this host, as told by systemd-hostnamed (org.freedesktop.hostname1(5)).

A service with ProtectHostname= (systemd.exec(5)) has a copy of the kernel's name from the time of its start.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.subscription import Subscription

__all__ = ["NAME", "PAUSE", "HostName"]

NAME = "org.freedesktop.hostname1"
PAUSE = 30.0
"""Seconds between two looks without word from hostnamed."""

_PATH = "/org/freedesktop/hostname1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_LOGGER = logging.getLogger(__name__)


class HostName:
    """The host's name; calls `changed` with each new one.

    hostnamed tells of what is changed through it, runs only while somebody asks it something, and knows
    nothing of hostname(1): `look` is for moments at which the name matters, and starts hostnamed.
    """

    def __init__(self, connection: Connection, changed: Callable[[str], None]) -> None:
        self.name = socket.gethostname()
        """The last that was heard of; at first that of the start."""
        self._connection = connection
        self._changed = changed
        self._signal: Subscription | None = None
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._rest: asyncio.TimerHandle | None = None
        self._again = False
        """Whether somebody wanted to look during the rest."""
        self._answered = False
        """Whether hostnamed has ever told the name: what the kernel tells this process may be older."""

    async def start(self) -> None:
        """Follow hostnamed, without a start of the service. Never raises for the service's sake."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            self._signal = await self._connection.add_signal(
                sender=NAME,
                interface=_PROPERTIES,
                member="PropertiesChanged",
                path=_PATH,
                arg0=NAME,
                callback=lambda *_: self._wanted.set(),
            )
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("that this host is renamed will be noticed later: %s", error)

    def close(self) -> None:
        """Follow hostnamed no longer."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._signal is not None:
            self._signal.close()
            self._signal = None

    def look(self) -> None:
        """Ask for the name, now or when the pause after the last look is over."""
        if self._rest is not None:
            self._again = True
            return
        self._again = False
        self._rest = asyncio.get_running_loop().call_later(PAUSE, self._rested)
        self._wanted.set()

    def _rested(self) -> None:
        self._rest = None
        if self._again:
            self.look()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            name = await self._ask()
            if name and name != self.name:
                self.name = name
                self._changed(name)

    async def _ask(self) -> str:
        try:
            [found] = await self._connection.call(NAME, _PATH, _PROPERTIES, "Get", "ss", (NAME, "Hostname"))
        except (RemoteError, CallTimeout) as error:
            _LOGGER.debug("hostnamed does not tell the name: %s", error)
            return self.name if self._answered else socket.gethostname()
        self._answered = True
        return str(found.value)
