# SPDX-License-Identifier: Apache-2.0
"""One run of the Avahi daemon on D-Bus (org.freedesktop.Avahi, since 0.8).

Calls go to the daemon's unique name, so that none of them starts a daemon that an administrator stopped. Its
objects send their signals to whoever made them; only the state of the server is for everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from missiond.bus.connection import Connection
from missiond.common.subscription import Subscription

NAME: Final = "org.freedesktop.Avahi"
SERVER: Final = "org.freedesktop.Avahi.Server"
SERVER2: Final = "org.freedesktop.Avahi.Server2"
BROWSER: Final = "org.freedesktop.Avahi.ServiceBrowser"
RESOLVER: Final = "org.freedesktop.Avahi.ServiceResolver"
GROUP: Final = "org.freedesktop.Avahi.EntryGroup"
SERVICE_TYPE: Final = "_missiond._tcp"

ANY: Final = -1
"""Any interface, or any protocol (AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC)."""
IPV6: Final = 1
SERVER_RUNNING: Final = 2
GROUP_ESTABLISHED, GROUP_COLLISION, GROUP_FAILURE = 2, 3, 4

COLLISION_ERROR: Final = "org.freedesktop.Avahi.CollisionError"
NOT_PERMITTED: Final = "org.freedesktop.Avahi.NotPermittedError"

PATIENCE: Final = 10.0
"""Seconds for an answer of Avahi."""


class AvahiBus:
    """A connection to one daemon, with the unique name `owner`."""

    def __init__(self, connection: Connection, owner: str) -> None:
        self._connection = connection
        self._owner = owner

    async def server(self, member: str, signature: str = "", body: tuple[Any, ...] = ()) -> list[Any]:
        """Call a method of the server; raises RemoteError and CallTimeout."""
        return await self.call("/", SERVER2, member, signature, body)

    async def call(
        self, path: str, interface: str, member: str, signature: str = "", body: tuple[Any, ...] = ()
    ) -> list[Any]:
        """Call a method of one of the daemon's objects; raises RemoteError and CallTimeout."""
        return await self._connection.call(
            self._owner, path, interface, member, signature, body, timeout=PATIENCE
        )

    def hear(
        self, path: str | None, interface: str, member: str, callback: Callable[..., None]
    ) -> Subscription:
        """Listen to one of the daemon's objects, or to all of one kind."""
        return self._connection.receive(
            sender=self._owner, interface=interface, member=member, path=path, callback=callback
        )

    def free(self, path: str, interface: str) -> None:
        """Give one of the daemon's objects back, without waiting for an answer."""
        if self._connection.connected:
            self._connection.send_call(self._owner, path, interface, "Free", no_auto_start=True)

    async def follow_state(self, callback: Callable[[int, str], None]) -> Subscription:
        """Hear when the server's state changes; raises RemoteError and CallTimeout."""
        return await self._connection.add_signal(
            sender=self._owner, interface=SERVER, member="StateChanged", path="/", callback=callback
        )
