# SPDX-License-Identifier: Apache-2.0
"""systemd-hostnamed, as org.freedesktop.hostname1(5) describes it."""

from __future__ import annotations

from typing import ClassVar

from missiond.bus.variants import variant
from missiond.bus.wire.message import Incoming
from missiond.host.systemd.host_name import NAME
from standins.services.neighbour import Neighbour

PROPERTIES = "org.freedesktop.DBus.Properties"
PATH = "/org/freedesktop/hostname1"


class Hostnamed(Neighbour):
    """Tells `host`, and of its changes where they are made through it."""

    name = NAME
    interface = PROPERTIES
    methods: ClassVar[dict[str, str]] = {"get": "Get"}

    def __init__(self, address: str, host: str) -> None:
        super().__init__(address)
        self.host = host

    def rename(self, host: str, interface: str = NAME) -> None:
        """Do as SetStaticHostname does."""
        self.host = host
        changed = {"StaticHostname": variant("s", host)}
        body = (interface, changed, ["Hostname"])
        self.connection.emit(PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)

    async def get(self, call: Incoming, interface: str, name: str) -> None:
        assert (call.path, interface, name) == (PATH, NAME, "Hostname")
        self.connection.reply(call, "v", (variant("s", self.host),))
