# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.Peers, and an object for each peer."""

from __future__ import annotations

import re
from typing import Any

from missiond.agent.authority import Action, Authority
from missiond.agent.peers import Peer, PeerUnit
from missiond.bus.interface import Call, Interface
from missiond.bus.server import Server
from missiond.bus.values import parse_options, shown, unwrap, variant
from missiond.core.locks import printable
from missiond.errors import InvalidParameter, SystemServiceFailed
from missiond.service import names
from missiond.service.device_ids import check_other
from missiond.state.permitted_devices import PermittedDevices

PERMISSIONS = ("sync", "continue")
NAME_LENGTH = 64
"""Of a name, in characters, as people are shown it."""
_ADDRESS_LENGTH = 263
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+(%[^\s\]]+)?\]|[^\s:\[\]]+):([0-9]{1,5})")
_TRUST_OPTIONS = {"name": "s", "address": "s", "permissions": "as"}


class PeerObject(Interface):
    """org.missiond.Agent1.Peer."""

    name = names.PEER

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def properties(self) -> dict[str, Any]:
        """All properties as they are now."""
        return {
            "DeviceId": self.peer.device_id,
            "Name": self.peer.name,
            "State": self.peer.state,
            "Addresses": self.peer.addresses,
            "Permissions": self.peer.permissions,
        }


class Peers(Interface):
    """Looks at arguments, asks polkit, and hands on to the peer unit, which decides the rest."""

    name = names.PEERS

    def __init__(
        self, server: Server, unit: PeerUnit, authority: Authority, permitted: PermittedDevices
    ) -> None:
        self._server = server
        self._permitted = permitted
        self._unit = unit
        self._authority = authority
        self._objects: dict[str, PeerObject] = {}

    def properties(self) -> dict[str, Any]:
        """All properties as they are now."""
        unit = self._unit
        return {"LocalDeviceId": unit.local_id, "LocalDeviceName": unit.local_name, "Enabled": unit.on}

    async def list_peers(self, call: Call) -> list[Peer]:
        """Every device that is known, by id."""
        [rows] = await self._unit.call("ListPeers", uid=(await call.caller()).uid)
        return [_shown(Peer(*row)) for row in rows]

    async def request_pairing(self, call: Call, device_id: str) -> str:
        """Begin to pair."""
        [code] = await self._ask(call, "RequestPairing", "s", device_id)
        return str(code)

    async def confirm_pairing(self, call: Call, device_id: str, accept: bool) -> None:
        """Say whether both hosts show the same code."""
        await self._ask(call, "ConfirmPairing", "sb", device_id, accept)

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

    async def unpair(self, call: Call, device_id: str) -> None:
        """Trust no longer."""
        await self._ask(call, "Unpair", "s", device_id, permissions=[])

    async def set_peer_permissions(self, call: Call, device_id: str, permissions: list[str]) -> None:
        """Say what a peer may do here."""
        wanted = _permissions(permissions)
        await self._ask(call, "SetPeerPermissions", "sas", device_id, wanted, permissions=wanted)

    async def _ask(
        self,
        call: Call,
        member: str,
        signature: str,
        device_id: str,
        *more: object,
        permissions: list[str] | None = None,
    ) -> list[Any]:
        """`permissions` are those that the device has from then on; None where that is not changed."""
        await check_other(device_id, self._unit)
        caller = await call.caller()
        await self._authority.require(Action.MANAGE_PEERS, call, caller.uid)
        if permissions is not None and "continue" not in permissions:
            self._permit(device_id, permitted=False)
        answer = await self._unit.call(member, signature, (device_id, *more), uid=caller.uid)
        if permissions is not None and "continue" in permissions:
            self._permit(device_id, permitted=True)
        return answer

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
        """The unit came or went."""
        names_changed = ("LocalDeviceId", "LocalDeviceName", "Enabled")
        self._server.changed(names.MANAGER_PATH, names.PEERS, *names_changed)

    def changed(self, peer: Peer) -> None:
        """Put its object on the bus, or tell what is new about it."""
        peer = _shown(peer)
        known = self._objects.get(peer.device_id)
        if known is None:
            known = self._objects[peer.device_id] = PeerObject(peer)
            self._server.add(names.peer_path(peer.device_id), known)
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
            self._server.changed(names.peer_path(peer.device_id), names.PEER, *changed)

    def gone(self, peer: Peer) -> None:
        """Take its object away."""
        if self._objects.pop(peer.device_id, None) is not None:
            self._server.remove(names.peer_path(peer.device_id))

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """PairingRequested: nobody knows who of the people here is to compare the codes."""
        text = printable(name, NAME_LENGTH)
        self._server.emit(names.MANAGER_PATH, names.PEERS, "PairingRequested", device_id, text, code)


def _shown(peer: Peer) -> Peer:
    return peer._replace(name=printable(peer.name, NAME_LENGTH))


def _address(text: str) -> str:
    """Check `host:port`; empty means none."""
    found = _ADDRESS.fullmatch(text) if len(text) <= _ADDRESS_LENGTH else None
    if text and (found is None or not 1 <= int(found[3]) <= 65535):
        raise InvalidParameter(
            f"address must be host:port, such as 192.0.2.7:8637 or [2001:db8::7]:8637, not '{shown(text)}'"
        )
    return text


def _permissions(words: list[str]) -> list[str]:
    for word in words:
        if word not in PERMISSIONS:
            raise InvalidParameter(f"permissions are {' and '.join(PERMISSIONS)}, not '{shown(word)}'")
    return [word for word in PERMISSIONS if word in words]
