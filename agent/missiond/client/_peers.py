# SPDX-License-Identifier: Apache-2.0
"""Peers: other hosts, known or trusted."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from missiond.bus import standard
from missiond.bus_names import MANAGER_PATH, PEER, PEERS
from missiond.client._bus import AgentBus
from missiond.client._missions import Changes, PeerMissions
from missiond.core.missions.printable import shown
from missiond.errors import Invalid, NotFound

_SHOWN = 16
"""Digits of an id that lists show."""
_WHOLE = 64
_BEGINNING = re.compile("[0-9a-f]{4,64}")
_UNPAIRED = ("discovered", "pairing")


@dataclass(frozen=True, slots=True)
class ThisDevice:
    """Own host as known to peers; `id` and `name` are empty while peers are off."""

    id: str
    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class PeerDetails:
    """Reason for a peer without missions (else empty), and whether the list is synchronised here."""

    reason: str = ""
    synchronised: bool = False


@dataclass(frozen=True, slots=True)
class PairingRequest:
    """Request of a device to pair; `name` proves nothing, `code` is shown by the device."""

    id: str
    name: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerInfo:
    """Another host at the time of listing.

    `state` is discovered (not paired), pairing, offline or connected; `permissions` is what it may do here.
    """

    _peers: Peers = field(repr=False, compare=False)
    id: str
    name: str
    state: str
    addresses: tuple[str, ...]
    permissions: tuple[str, ...]

    @property
    def paired(self) -> bool:
        """Whether people or an administrator trust the host."""
        return self.state not in _UNPAIRED

    @property
    def label(self) -> str:
        """Name (with `?` for an unproven name), or the beginning of the id."""
        doubt = "?" if self.state == "discovered" else ""
        return shown(self.name, lambda _: "\N{REPLACEMENT CHARACTER}") + doubt if self.name else self.short_id

    @property
    def short_id(self) -> str:
        """Beginning of the id, as shown by lists."""
        return self.id[:_SHOWN]

    @property
    def missions(self) -> PeerMissions:
        """Missions shared by the peer: `await peer.missions()`."""
        return self._peers.missions_of(self.id)

    async def details(self) -> PeerDetails:
        """Return further details; empty for a peer unknown to the agent by now."""
        return await self._peers.details(self.id)

    async def pair(self) -> str:
        """Start pairing, or answer the peer's request; return the code for both hosts."""
        return await self._peers.pair(self.id)

    async def confirm(self, *, accept: bool = True) -> None:
        """Say whether both hosts show the same code."""
        await self._peers.confirm(self.id, accept=accept)

    async def permit(self, permissions: Iterable[str]) -> None:
        """Replace the peer's permissions here (sync, continue)."""
        await self._peers.permit(self.id, permissions)

    async def unpair(self) -> None:
        """End the trust in the peer."""
        await self._peers.unpair(self.id)


class Peers:
    """Peers of this host: `await agent.peers()` returns a list.

    All methods raise Failed while peers are off, and Denied where polkit forbids it.
    """

    def __init__(self, bus: AgentBus) -> None:
        self._bus = bus

    async def __call__(self) -> list[PeerInfo]:
        """List all known peers, by id."""
        [rows] = await self._call("ListPeers")
        return [
            PeerInfo(
                _peers=self, id=device, name=name, state=state, addresses=tuple(at), permissions=tuple(may)
            )
            for device, name, state, at, may in rows
        ]

    async def this_device(self) -> ThisDevice:
        """Return this host as seen by peers."""
        found = await self._bus.properties(PEERS)
        return ThisDevice(found["LocalDeviceId"], found["LocalDeviceName"], found["Enabled"])

    async def details(self, device: str) -> PeerDetails:
        """Return further details of a peer; empty for a peer unknown to the agent."""
        try:
            found = await self._bus.properties(PEER, f"{MANAGER_PATH}/peer/{device}")
        except NotFound:
            return PeerDetails()
        return PeerDetails(str(found.get("Reason", "")), bool(found.get("Synchronised", False)))

    def missions_of(self, device: str) -> PeerMissions:
        """Missions of the peer with this id."""
        return PeerMissions(self._bus, device)

    @staticmethod
    def is_id(word: str) -> bool:
        """Whether a word is the whole id of a device, known or not."""
        return len(word) == _WHOLE and _BEGINNING.fullmatch(word) is not None

    @staticmethod
    def is_beginning(word: str) -> bool:
        """Whether a word is long enough for the beginning of a device id."""
        return _BEGINNING.fullmatch(word) is not None

    async def prepare_pairing(self) -> None:
        """Have polkit decide on pairing now, before people are waited for."""
        await self._call("PreparePairing")

    async def pair(self, device: str) -> str:
        """Start pairing, or answer the peer's request; return the code for both hosts."""
        [code] = await self._call("RequestPairing", device)
        return str(code)

    async def confirm(self, device: str, *, accept: bool = True) -> None:
        """Say whether both hosts show the same code."""
        await self._call("ConfirmPairing", device, accept)

    async def trust(
        self,
        device: str,
        *,
        name: str | None = None,
        address: str | None = None,
        permissions: Iterable[str] | None = None,
    ) -> None:
        """Trust a device by an id known from elsewhere; `address` is host:port."""
        given = {
            "name": name,
            "address": address,
            "permissions": None if permissions is None else [*permissions],
        }
        await self._call("TrustDevice", device, self._bus.options(PEERS, "TrustDevice", given))

    async def permit(self, device: str, permissions: Iterable[str]) -> None:
        """Replace a peer's permissions here (sync, continue)."""
        await self._call("SetPeerPermissions", device, [*permissions])

    async def unpair(self, device: str) -> None:
        """Trust a peer no longer."""
        await self._call("Unpair", device)

    @asynccontextmanager
    async def requests(self) -> AsyncIterator[AsyncIterator[PairingRequest]]:
        """Receive requests of devices to pair, from now on."""
        with self._bus.inbox() as inbox:
            heard = lambda *arguments: inbox.put(PairingRequest(*arguments))  # noqa: E731
            subscription = await self._bus.subscribe(PEERS, {"PairingRequested": heard})
            try:
                yield _each(inbox.get)
            finally:
                subscription.close()

    @asynccontextmanager
    async def changes(self, device: str = "") -> AsyncIterator[Changes]:
        """Hear of changes of a peer, or without one of this host, from now on."""
        path = f"{MANAGER_PATH}/peer/{device}" if device else MANAGER_PATH
        with self._bus.inbox() as inbox:
            changes = Changes(inbox)
            subscriptions = [
                await self._bus.subscribe(standard.PROPERTIES, {"PropertiesChanged": changes.put}, path=path),
                await self._bus.subscribe(
                    standard.OBJECT_MANAGER, {"InterfacesRemoved": changes.put}, arg0path=path
                ),
            ]
            try:
                yield changes
            finally:
                for subscription in subscriptions:
                    subscription.close()

    async def _call(self, member: str, *arguments: object) -> list[Any]:
        return await self._bus.call(PEERS, member, *arguments)


async def _each(get: Callable[[], Any]) -> AsyncIterator[Any]:
    while True:
        yield await get()


def find_peer(peers: Sequence[PeerInfo], word: str) -> PeerInfo:
    """Return the peer with this id, beginning of an id, or name; raises NotFound, Invalid (several).

    A name is that of a paired host, if there is one: what others are called anybody may say.
    """
    found = [peer for peer in peers if peer.id == word]
    if not found and _BEGINNING.fullmatch(word):
        found = [peer for peer in peers if peer.id.startswith(word)]
    if not found:
        called_so = [peer for peer in peers if word and peer.name in (word, word.removesuffix("?"))]
        found = [peer for peer in called_so if peer.paired] or called_so
    if len(found) == 1:
        return found[0]
    what = shown(word[:80], lambda _: "\N{REPLACEMENT CHARACTER}")
    if found:
        raise Invalid(f"{len(found)} devices are called {what}; name one by its id")
    raise NotFound(f"no device {what} is known; `missionctl peers list` shows those that are")
