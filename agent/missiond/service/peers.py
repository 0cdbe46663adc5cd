# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.Peers, and an object for each peer."""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from missiond import audit, bus_names
from missiond.bus.interface import Call, Interface
from missiond.bus.server import Server
from missiond.bus.variants import parse_options, shown, unwrap, variant
from missiond.core.tasks.locks import printable
from missiond.daemon.authority import Action, Authority
from missiond.daemon.peering.peers_client import KnownPeer, PeerMissionDetails, PeerObserver, PeersClient
from missiond.errors import InvalidParameter, SystemServiceFailed
from missiond.service.device_id_checks import check_other
from missiond.store.permitted_devices import PermittedDevices

PERMISSIONS = ("sync", "continue")
REASON_LENGTH = 300
NAME_LENGTH = 64
"""Longest name of a device shown to people, in characters."""
_ADDRESS_LENGTH = 263
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+(%[^\s\]]+)?\]|[^\s:\[\]]+):([0-9]{1,5})")
_TRUST_OPTIONS = {"name": "s", "address": "s", "permissions": "as"}


class PeerObject(Interface):
    """org.missiond.Agent1.Peer."""

    name = bus_names.PEER

    def __init__(self, peer: KnownPeer, unit: PeersClient) -> None:
        self.peer = peer
        self._unit = unit

    def properties(self) -> dict[str, Any]:
        """Return all properties."""
        details = self._unit.details.get(self.peer.device_id, PeerMissionDetails())
        return {
            "Reason": printable(details.reason, REASON_LENGTH),
            "Synchronised": details.synchronised,
            "DeviceId": self.peer.device_id,
            "Name": self.peer.name,
            "State": self.peer.state,
            "Addresses": self.peer.addresses,
            "Permissions": self.peer.permissions,
        }


class PeersInterface(Interface, PeerObserver):
    """Face of the peer unit: checks of arguments and permissions; the unit decides the rest."""

    name = bus_names.PEERS

    def __init__(
        self,
        server: Server,
        unit: PeersClient,
        authority: Authority,
        permitted: PermittedDevices,
        touched: Callable[[], None],
    ) -> None:
        """Subscribe to the unit; `touched` is called after changes of peers or states."""
        unit.subscribe(self)
        self._touched = touched
        self._server = server
        self._permitted = permitted
        self._unit = unit
        self._authority = authority
        self._objects: dict[str, PeerObject] = {}
        self._pairers: set[str] = set()
        """Connections that polkit let pair: who compares a code is not asked for a password in between."""

    def properties(self) -> dict[str, Any]:
        """Return all properties."""
        unit = self._unit
        return {"LocalDeviceId": unit.local_id, "LocalDeviceName": unit.local_name, "Enabled": unit.on}

    async def list_peers(self, call: Call) -> list[KnownPeer]:
        """List all known devices by id."""
        [rows] = await self._unit.call("ListPeers", uid=(await call.caller()).uid)
        return [_shown(KnownPeer(*row)) for row in rows]

    async def prepare_pairing(self, call: Call) -> None:
        """Ask polkit now for the permission to pair."""
        await self._unit.ready()
        await self._may_pair(call)

    async def request_pairing(self, call: Call, device_id: str) -> str:
        """Begin to pair."""
        [code] = await self._ask(call, "RequestPairing", "s", device_id, may=self._may_pair)
        return str(code)

    async def confirm_pairing(self, call: Call, device_id: str, accept: bool) -> None:
        """Say whether both hosts show the same code."""
        await self._ask(call, "ConfirmPairing", "sb", device_id, accept, may=self._may_pair)
        if accept:
            audit.trusted(*self._named(device_id), (await call.caller()).uid, "people compared the codes")

    async def trust_device(self, call: Call, device_id: str, options: dict[str, Any]) -> None:
        """Trust without people."""
        chosen = parse_options(options, _TRUST_OPTIONS)
        checked = {}
        if "name" in chosen:
            checked["name"] = variant("s", printable(chosen["name"], NAME_LENGTH).strip())
        if "address" in chosen:
            checked["address"] = variant("s", _address(chosen["address"]))
        if "permissions" in chosen:
            checked["permissions"] = variant("as", _permissions(chosen["permissions"]))
        wanted = unwrap(checked["permissions"]) if "permissions" in checked else None
        await self._ask(call, "TrustDevice", "sa{sv}", device_id, checked, permissions=wanted)
        uid = (await call.caller()).uid
        audit.trusted(*self._named(device_id), uid, "by its id")
        if wanted is not None:
            audit.permitted(*self._named(device_id), uid, wanted)

    async def unpair(self, call: Call, device_id: str) -> None:
        """Trust no longer."""
        device = self._named(device_id)
        await self._ask(call, "Unpair", "s", device_id, permissions=[])
        audit.distrusted(*device, (await call.caller()).uid, "unpaired")

    async def set_peer_permissions(self, call: Call, device_id: str, permissions: list[str]) -> None:
        """Set the permissions of a peer."""
        wanted = _permissions(permissions)
        await self._ask(call, "SetPeerPermissions", "sas", device_id, wanted, permissions=wanted)
        audit.permitted(*self._named(device_id), (await call.caller()).uid, wanted)

    def _named(self, device_id: str) -> tuple[str, str]:
        known = self._unit.peers.get(device_id)
        return device_id, printable(known.name, NAME_LENGTH) if known is not None else ""

    async def _ask(
        self,
        call: Call,
        member: str,
        signature: str,
        device_id: str,
        *more: object,
        permissions: list[str] | None = None,
        may: Callable[[Call], Awaitable[None]] | None = None,
    ) -> list[Any]:
        """`permissions` are those that the device has from then on; None where that is not changed.

        `may` raises PermissionDenied where the caller may not; without it, polkit is asked each time.
        """
        await check_other(device_id, self._unit)
        caller = await call.caller()
        await (may or self._may_manage)(call)
        if permissions is not None and "continue" not in permissions:
            self._permit(device_id, permitted=False)
        answer = await self._unit.call(member, signature, (device_id, *more), uid=caller.uid)
        if permissions is not None and "continue" in permissions:
            self._permit(device_id, permitted=True)
        return answer

    async def _may_manage(self, call: Call) -> None:
        await self._authority.require(Action.MANAGE_PEERS, call, (await call.caller()).uid)

    async def _may_pair(self, call: Call) -> None:
        """Ask once for each connection."""
        name = call.sender
        if name in self._pairers:
            return
        await self._may_manage(call)
        self._pairers.add(name)
        self._server.callers.on_vanish(name, lambda: self._pairers.discard(name))

    def _permit(self, device_id: str, *, permitted: bool) -> None:
        """Take note of what only this agent decides: who may have it start programs."""
        try:
            self._permitted.set(device_id, permitted=permitted)
        except OSError as error:
            raise SystemServiceFailed(
                f"the state directory can't be written to ({error.strerror}); try again when it can"
            ) from None

    # --- what the unit tells

    def turned(self) -> None:
        """Tell of changed properties after the unit came or went."""
        names_changed = ("LocalDeviceId", "LocalDeviceName", "Enabled")
        self._server.changed(bus_names.MANAGER_PATH, bus_names.PEERS, *names_changed)
        self._touched()

    def renamed(self) -> None:
        """Tell of the new name of this host."""
        self._server.changed(bus_names.MANAGER_PATH, bus_names.PEERS, "LocalDeviceName")

    def peer_changed(self, before: KnownPeer | None, now: KnownPeer) -> None:
        """Put the object of a peer on the bus, or tell of new values."""
        self._show(_shown(now))
        self._touched()

    def _show(self, peer: KnownPeer) -> None:
        known = self._objects.get(peer.device_id)
        if known is None:
            known = self._objects[peer.device_id] = PeerObject(peer, self._unit)
            self._server.add(bus_names.peer_path(peer.device_id), known)
            return
        before, known.peer = known.peer, peer
        differs = {
            "Name": peer.name != before.name,
            "State": peer.state != before.state,
            "Addresses": peer.addresses != before.addresses,
            "Permissions": peer.permissions != before.permissions,
        }
        changed = [name for name, yes in differs.items() if yes]
        if changed:
            self._server.changed(bus_names.peer_path(peer.device_id), bus_names.PEER, *changed)

    def details_changed(self, device_id: str) -> None:
        """Tell of new details of a peer."""
        if device_id in self._objects:
            self._server.changed(bus_names.peer_path(device_id), bus_names.PEER, "Reason", "Synchronised")

    def peer_gone(self, peer: KnownPeer) -> None:
        """Take the object of a peer off the bus."""
        if self._objects.pop(peer.device_id, None) is not None:
            self._server.remove(bus_names.peer_path(peer.device_id))
        self._touched()

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """Emit PairingRequested to everybody: any of the people here may compare the codes."""
        text = printable(name, NAME_LENGTH)
        self._server.emit(bus_names.MANAGER_PATH, bus_names.PEERS, "PairingRequested", device_id, text, code)


def _shown(peer: KnownPeer) -> KnownPeer:
    return peer._replace(name=printable(peer.name, NAME_LENGTH))


def _address(text: str) -> str:
    """Check `host:port`; empty means none."""
    found = _ADDRESS.fullmatch(text) if len(text) <= _ADDRESS_LENGTH else None
    if text and (found is None or not 1 <= int(found[3]) <= 65535):
        raise InvalidParameter(
            f"address must be host:port, such as 192.0.2.7:8637 or [2001:db8::7]:8637, not '{shown(text)}'"
        )
    if found is not None and found[2] is None and _is_link_local(found[1]):
        raise InvalidParameter(
            f"a link-local address needs its interface, such as {found[1][:-1]}%eth0]:{found[3]}"
        )
    return text


def _is_link_local(host: str) -> bool:
    """Whether it is an IPv6 address, in brackets, of fe80::/10 (RFC 4291, 2.5.6)."""
    try:
        first, second, *_ = socket.inet_pton(socket.AF_INET6, host[1:-1])
    except OSError:
        return False
    return first == 0xFE and second & 0xC0 == 0x80


def _permissions(words: list[str]) -> list[str]:
    for word in words:
        if word not in PERMISSIONS:
            raise InvalidParameter(f"permissions are {' and '.join(PERMISSIONS)}, not '{shown(word)}'")
    return [word for word in PERMISSIONS if word in words]
