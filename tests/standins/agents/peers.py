# SPDX-License-Identifier: Apache-2.0
"""What the stand-in of the agent has about other hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from missiond import bus_names
from missiond.bus.interface import Call, Interface
from missiond.bus.server import Server
from missiond.bus.variants import unwrap
from missiond.errors import DistributedServiceFailed
from standins.agents.peer_unit import OWN, ROW, A, B, peer

OFF = "peers are off on this host; turn them on"


class _Peer(Interface):
    name = bus_names.PEER

    def __init__(self, peers: PeersStandIn, device: str) -> None:
        self._peers = peers
        self._device = device

    def properties(self) -> dict[str, Any]:
        row = self._peers.rows[self._device]
        found = dict(zip(("DeviceId", "Name", "State", "Addresses", "Permissions"), row, strict=True))
        synchronised = self._device in self._peers.synchronised
        return found | {"Reason": self._peers.reasons.get(self._device, ""), "Synchronised": synchronised}


class PeersStandIn(Interface):
    """Two devices, one paired; whoever confirms a pairing with the other one is paired at once."""

    name = bus_names.PEERS

    def __init__(self, note: Callable[..., None], server: Server) -> None:
        self._note = note
        self._server = server
        self.on = True
        self.refuses: Exception | None = None
        """What PreparePairing is answered with."""
        self.rows = {
            A: peer(A, name="laptop"),
            B: peer(B, "discovered", name="desk\x1b", permissions=[]),
        }
        self.synchronised: set[str] = set()
        self.reasons: dict[str, str] = {}
        self.answer = "connected"
        """What becomes of a pairing that is confirmed here."""
        for device in self.rows:
            server.add(bus_names.peer_path(device), _Peer(self, device))

    def properties(self) -> dict[str, Any]:
        return {"LocalDeviceId": OWN if self.on else "", "LocalDeviceName": "here", "Enabled": self.on}

    def turn_on(self) -> None:
        """Let the peer unit be there."""
        self.on = True
        self._server.changed(bus_names.MANAGER_PATH, bus_names.PEERS, "Enabled")

    def change(self, device: str, state: str) -> None:
        """Have a device be in another state."""
        self.rows[device] = self.rows[device]._replace(state=state)
        self._server.changed(bus_names.peer_path(device), bus_names.PEER, "State")

    def missions(self, device: str) -> list[Any]:
        """GetMissionInfos of a peer."""
        if self.rows[device].state != "connected":
            raise DistributedServiceFailed(f"{self.rows[device].name} is not connected")
        if device not in self.synchronised:
            raise DistributedServiceFailed("not synchronised; call StartSyncRemoteMissions first")
        return [ROW]

    def list_peers(self, _call: Call) -> list[Any]:
        self._note("ListPeers")
        if not self.on:
            raise DistributedServiceFailed(OFF)
        return list(self.rows.values())

    def prepare_pairing(self, _call: Call) -> None:
        self._note("PreparePairing")
        if self.refuses is not None:
            raise self.refuses

    def request_pairing(self, _call: Call, device_id: str) -> str:
        self._note("RequestPairing", device_id)
        self.change(device_id, "pairing")
        return "123 456"

    def confirm_pairing(self, _call: Call, device_id: str, accept: bool) -> None:
        self._note("ConfirmPairing", device_id, accept)
        self.change(device_id, self.answer if accept else "discovered")

    def trust_device(self, _call: Call, device_id: str, options: dict[str, Any]) -> None:
        self._note("TrustDevice", device_id, unwrap(options))

    def unpair(self, _call: Call, device_id: str) -> None:
        self._note("Unpair", device_id)

    def set_peer_permissions(self, _call: Call, device_id: str, permissions: list[str]) -> None:
        self._note("SetPeerPermissions", device_id, permissions)
