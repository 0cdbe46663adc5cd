# SPDX-License-Identifier: Apache-2.0
"""The peer unit, as the agent sees it: lists what it is told to, and signals when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from missiond import bus_names
from missiond.bus.variants import variant
from missiond.bus.wire.message import Incoming
from missiond.daemon.peering.peer_follower import INTERFACE, NAME, PATH
from missiond.daemon.peering.peers_client import KnownPeer
from standins.services.neighbour import Neighbour

OWN, A, B, UNKNOWN = "0" * 64, "a" * 64, "b" * 64, "f" * 64
ROW = (7, "Editor", "", "org.example.Editor", 4711, 1000, "running", False, True, 0, 1_700_000_000_000_000)
SIGNATURES = {
    "DegradedChanged": "as",
    "LocalDeviceNameChanged": "s",
    "PeerChanged": "(sssasas)",
    "DetailsChanged": "(ssb)",
    "PeerGone": "s",
    "PairingRequested": "sss",
    "MissionsChanged": "s",
    "SnapshotChanged": "su",
    "NetDisconnect": "si",
    "LinkUp": "sb",
    "LinkDown": "s",
    "StateProgress": "ssbtt",
    "StateComplete": "ss",
    "StateFailed": "sss",
}


def peer(device: str = A, state: str = "connected", **more: Any) -> KnownPeer:
    """A row of ListPeers."""
    return KnownPeer(device, "other", state, ["192.0.2.1:8637"], ["sync"])._replace(**more)


class PeerUnitStandIn(Neighbour):
    """Answers as it should; it hangs, fails and vanishes as any Neighbour."""

    name = NAME
    interface = INTERFACE
    methods: ClassVar[dict[str, str]] = {
        "get_all": "GetAll",
        "list_peers": "ListPeers",
        "list_details": "ListDetails",
        "pair": "RequestPairing",
        "confirm": "ConfirmPairing",
        "trust": "TrustDevice",
        "unpair": "Unpair",
        "permit": "SetPeerPermissions",
        "start_sync": "StartSync",
        "stop_sync": "StopSync",
        "missions": "Missions",
        "info": "MissionInfo",
        "snapshot": "MissionSnapshot",
        "watch": "WatchSnapshots",
        "follow": "FollowHandovers",
        "send": "SendHandover",
        "send_state": "SendState",
        "expect_state": "ExpectState",
        "forget": "ForgetHandover",
    }

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.peers: dict[str, KnownPeer] = {A: peer(A), B: peer(B, "offline")}
        self.links: list[tuple[str, bool]] = [(A, True)]
        self.follower: str | None = None
        self.details = [(B, "192.0.2.1:8637: Connection refused", True)]
        self.missing: list[str] | None = []

    def serves(self, interface: str) -> bool:
        return interface in (INTERFACE, "org.freedesktop.DBus.Properties")

    async def signal(self, member: str, *body: Any) -> None:
        """Tell the agent something."""
        owner = await self.connection.name_owner(bus_names.BUS_NAME)
        self.connection.emit(PATH, INTERFACE, member, SIGNATURES[member], body, destination=owner)

    async def tell(self, member: str, *body: Any) -> None:
        """Tell whoever follows hand-overs something."""
        self.connection.emit(PATH, INTERFACE, member, SIGNATURES[member], body, destination=self.follower)

    async def follow(self, call: Incoming, _transfers: object) -> None:
        self.follower = call.sender
        self.connection.reply(call, "a(sb)", (self.links,))

    async def change(self, now: KnownPeer) -> None:
        """Have a device be different."""
        self.peers[now.device_id] = now
        await self.signal("PeerChanged", tuple(now))

    async def get_all(self, call: Incoming, _interface: str) -> None:
        values = {"LocalDeviceId": variant("s", OWN), "LocalDeviceName": variant("s", "this host")}
        if self.missing is not None:  # else it is from before that was told
            values["Degraded"] = variant("as", self.missing)
        self.connection.reply(call, "a{sv}", (values,))

    async def list_peers(self, call: Incoming) -> None:
        self.connection.reply(call, "a(sssasas)", ([tuple(each) for each in self.peers.values()],))

    async def list_details(self, call: Incoming) -> None:
        self.connection.reply(call, "a(ssb)", (self.details,))

    async def pair(self, call: Incoming, _device: str) -> None:
        self.connection.reply(call, "s", ("123 456",))

    async def missions(self, call: Incoming, _device: str, num_max: int) -> None:
        self.connection.reply(call, "a(usssuusbbit)", ([ROW][:num_max],))

    async def info(self, call: Incoming, *_which: object) -> None:
        values = {"label": variant("s", "Editor"), "want": variant("a{sv}", {"cwd": variant("s", "/")})}
        self.connection.reply(call, "a{sv}", (values,))

    async def snapshot(self, call: Incoming, *_which: object) -> None:
        self.connection.reply(call, "a{sv}", ({"cpu": variant("d", 1.5)},))

    async def _nothing(self, call: Incoming, *_arguments: object) -> None:
        self.connection.reply(call)

    confirm = trust = unpair = permit = start_sync = stop_sync = watch = _nothing
    send = send_state = expect_state = forget = _nothing


@asynccontextmanager
async def running_peer_unit(address: str) -> AsyncIterator[PeerUnitStandIn]:
    """Run it for as long as the block lasts."""
    unit = PeerUnitStandIn(address)
    await unit.appear()
    try:
        yield unit
    finally:
        await unit.vanish()
