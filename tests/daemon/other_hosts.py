# SPDX-License-Identifier: Apache-2.0
"""Calls about other hosts, as clients make them."""

from __future__ import annotations

from typing import Any

from missiond import bus_names
from standins.clients.agent_client import AgentClient, Refused

SIGNATURES = {
    "ListPeers": "",
    "RequestPairing": "s",
    "ConfirmPairing": "sb",
    "TrustDevice": "sa{sv}",
    "Unpair": "s",
    "SetPeerPermissions": "sas",
    "RegisterMissionListener": "s",
    "UnregisterMissionListener": "s",
    "StartSyncRemoteMissions": "sbi",
    "StopSyncRemoteMissions": "s",
    "GetMissionInfos": "su",
    "GetMissionInfo": "su",
    "GetMissionSnapshot": "su",
    "RegisterMission": "a{sv}",
    "UnregisterMission": "u",
    "Subscribe": "",
    "Info": "u",
    "Snapshot": "u",
    "WatchSnapshots": "b",
}
_INTERFACES = {
    bus_names.PEERS: list(SIGNATURES)[:6],
    bus_names.DISTRIBUTED_MISSION_MANAGER: list(SIGNATURES)[6:15],
    bus_names.SHARING: list(SIGNATURES)[15:],
}
CALLS: dict[str, tuple[Any, ...]] = {
    "RequestPairing": (),
    "ConfirmPairing": (True,),
    "TrustDevice": ({},),
    "Unpair": (),
    "SetPeerPermissions": (["sync"],),
    "RegisterMissionListener": (),
    "UnregisterMissionListener": (),
    "StartSyncRemoteMissions": (True, 0),
    "StopSyncRemoteMissions": (),
    "GetMissionInfos": (10,),
    "GetMissionInfo": (7,),
    "GetMissionSnapshot": (7,),
}
"""Every method that names a device, with what goes behind the id."""
PEERS_CALLS = tuple(CALLS)[:5]
MISSIONS_CALLS = tuple(CALLS)[5:]
PERMITTED_CALLS = tuple(each for each in CALLS if each != "UnregisterMissionListener")


def _how(member: str) -> dict[str, Any]:
    [interface] = [name for name, members in _INTERFACES.items() if member in members]
    return {"interface": interface, "signature": SIGNATURES[member]}


async def start(client: AgentClient, member: str, *arguments: Any) -> int:
    """Send a call; the serial for `client.answer`."""
    return await client.start(member, *arguments, **_how(member))


async def call(client: AgentClient, member: str, *arguments: Any) -> list[Any]:
    """Call a method; its results. Raises Refused."""
    return await client.call(member, *arguments, **_how(member))


async def refused(client: AgentClient, member: str, *arguments: Any) -> Refused:
    """Call a method that must fail; how it did."""
    return await client.refused(member, *arguments, **_how(member))
