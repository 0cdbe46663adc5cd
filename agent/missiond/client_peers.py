# SPDX-License-Identifier: Apache-2.0
"""Other hosts for Python programs, over a Client.

    async with Client() as agent:
        for peer in await Peers(agent).known(): print(peer.name, peer.state)

Methods raise as those of Client do; where peers are off, an AgentError of code 16300501.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from missiond.bus.values import variant
from missiond.client import Client, Signals
from missiond.service.names import MANAGER_PATH, PEER, PEERS

PROPERTIES = "org.freedesktop.DBus.Properties"


class LocalDevice(NamedTuple):
    """What others know of this host; empty texts while peers are off."""

    device_id: str
    name: str
    enabled: bool


class Peer(NamedTuple):
    """A device; `state` is discovered (not paired), pairing, offline or connected."""

    device_id: str
    name: str
    state: str
    addresses: list[str]
    permissions: list[str]


class Peers:
    """The devices that this host knows."""

    def __init__(self, agent: Client) -> None:
        self._agent = agent

    async def local(self) -> LocalDevice:
        """Return this host."""
        found = await self._agent.properties(PEERS)
        return LocalDevice(found["LocalDeviceId"], found["LocalDeviceName"], found["Enabled"])

    async def known(self) -> list[Peer]:
        """Return all that are known, by id."""
        (rows,) = await self._call("ListPeers", "")
        return [Peer(*row) for row in rows]

    async def request_pairing(self, device_id: str) -> str:
        """Begin to pair, or go on with what the other began; the code that both hosts show."""
        (code,) = await self._call("RequestPairing", "s", device_id)
        return str(code)

    async def confirm_pairing(self, device_id: str, *, accept: bool) -> None:
        """Say whether both hosts show the same code."""
        await self._call("ConfirmPairing", "sb", device_id, accept)

    async def trust(
        self,
        device_id: str,
        *,
        name: str | None = None,
        address: str | None = None,
        permissions: Iterable[str] | None = None,
    ) -> None:
        """Trust a device whose id is known from elsewhere; `address` is host:port."""
        options: dict[str, Any] = {}
        if name is not None:
            options["name"] = variant("s", name)
        if address is not None:
            options["address"] = variant("s", address)
        if permissions is not None:
            options["permissions"] = variant("as", [*permissions])
        await self._call("TrustDevice", "sa{sv}", device_id, options)

    async def unpair(self, device_id: str) -> None:
        """Trust it no longer."""
        await self._call("Unpair", "s", device_id)

    async def set_permissions(self, device_id: str, permissions: Iterable[str]) -> None:
        """Replace what it may do here: sync, continue."""
        await self._call("SetPeerPermissions", "sas", device_id, [*permissions])

    @asynccontextmanager
    async def pairing_requests(self) -> AsyncIterator[Signals]:
        """Device id, name and code of each device that wants to pair from now on."""
        async with self._agent.signals("PairingRequested", PEERS) as requests:
            yield requests

    @asynccontextmanager
    async def changes(self, device_id: str = "") -> AsyncIterator[Signals]:
        """One item for each change of a device, or without one of this host."""
        path = f"{MANAGER_PATH}/peer/{device_id}" if device_id else MANAGER_PATH
        gone = [("InterfacesRemoved", "org.freedesktop.DBus.ObjectManager", MANAGER_PATH)]
        async with self._agent.signals("PropertiesChanged", PROPERTIES, also=gone, path=path) as changed:
            yield changed

    async def _call(self, member: str, signature: str, *arguments: object) -> list[Any]:
        return await self._agent.manage(PEERS, member, signature, arguments)


__all__ = ["PEER", "LocalDevice", "Peer", "Peers"]
