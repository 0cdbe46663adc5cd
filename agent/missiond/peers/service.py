# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Peers1: what the agent may ask of this unit."""

from __future__ import annotations

from typing import Any

from missiond.bus.interface import Call, Interface
from missiond.bus.library import Variant
from missiond.bus.variants import parse_options
from missiond.core.link.timeouts import MAX_BODY
from missiond.core.missions.missions import Row
from missiond.peers.agent.mission_details_codec import to_bus
from missiond.peers.agent.notifier import INTERFACE, PATH, AgentNotifier
from missiond.peers.commands import Commands
from missiond.peers.device import PeerRow

BUS_NAME = "org.missiond.Peers1"

_TRUST = {"name": "s", "address": "s", "permissions": "as"}


class Peers1(Interface):
    """The bus lets only the agent and root call it; the agent has asked polkit."""

    name = INTERFACE
    call_bytes = 2 * MAX_BODY

    def __init__(self, commands: Commands, herald: AgentNotifier) -> None:
        self._commands = commands
        self._herald = herald

    def properties(self) -> dict[str, Any]:
        """Return what others know of this host, and what it lacks."""
        return {
            "LocalDeviceId": self._commands.local_id,
            "LocalDeviceName": self._commands.local_name,
            "Degraded": self._herald.missing,
        }

    def list_peers(self, _call: Call) -> list[PeerRow]:
        """All devices that are known."""
        return self._commands.list_peers()

    def list_details(self, _call: Call) -> list[tuple[str, str, bool]]:
        """What there is to say of them beside that."""
        return self._commands.list_details()

    async def request_pairing(self, _call: Call, device_id: str) -> str:
        """Begin a pairing and return the code."""
        return await self._commands.request_pairing(device_id)

    def confirm_pairing(self, _call: Call, device_id: str, accept: bool) -> None:
        """People have compared the codes."""
        self._commands.confirm_pairing(device_id, accept)

    def trust_device(self, _call: Call, device_id: str, options: dict[str, Variant]) -> None:
        """Trust a device without pairing."""
        self._commands.trust_device(device_id, parse_options(options, _TRUST))

    def unpair(self, _call: Call, device_id: str) -> None:
        """Trust it no longer."""
        self._commands.unpair(device_id)

    def set_peer_permissions(self, _call: Call, device_id: str, permissions: list[str]) -> None:
        """Say what it may do here."""
        self._commands.set_peer_permissions(device_id, permissions)

    def start_sync(self, _call: Call, device_id: str, fix_conflict: bool, tag: int) -> None:
        """Keep its list in step."""
        self._commands.start_sync(device_id, fix_conflict, tag)

    def stop_sync(self, _call: Call, device_id: str) -> None:
        """Keep it no longer."""
        self._commands.stop_sync(device_id)

    async def missions(self, _call: Call, device_id: str, num_max: int) -> list[Row]:
        """Return the list."""
        return await self._commands.missions(device_id, num_max)

    async def mission_info(self, _call: Call, device_id: str, mission_id: int) -> dict[str, Variant]:
        """Everything that a peer tells about one mission."""
        return to_bus(await self._commands.mission_info(device_id, mission_id))

    async def mission_snapshot(self, _call: Call, device_id: str, mission_id: int) -> dict[str, Variant]:
        """What it uses now."""
        return to_bus(await self._commands.mission_snapshot(device_id, mission_id))

    def watch_snapshots(self, _call: Call, device_id: str, on: bool) -> None:
        """Hear of new snapshots, or no longer."""
        self._commands.watch_snapshots(device_id, on)

    def follow_handovers(self, call: Call, transfers: list[list[str]]) -> list[tuple[str, bool]]:
        """Tell the caller of hand-overs, in place of an earlier one, until it leaves."""
        connected = self._commands.follow_handovers([(device_id, each) for device_id, each in transfers])
        self._herald.follow_handovers(call.sender, self._commands.leave_handovers)
        return connected

    async def send_handover(self, _call: Call, device_id: str, transfer: str, step: str, body: str) -> None:
        """Pass a message on, and return when it is taken."""
        await self._commands.send_handover(device_id, transfer, step, body)

    async def send_state(
        self, call: Call, device_id: str, transfer: str, state: int, offset: int, size: int
    ) -> None:
        """Send a file's content, and return when it is there."""
        await self._commands.send_state(device_id, transfer, call.lend_fd(state), offset, size)

    async def expect_state(
        self, call: Call, device_id: str, transfer: str, state: int, offset: int, size: int
    ) -> None:
        """Write to a file what comes."""
        await self._commands.expect_state(device_id, transfer, call.lend_fd(state), offset, size)

    def forget_handover(self, _call: Call, transfer: str) -> None:
        """Have nothing to do with it any more."""
        self._commands.forget_handover(transfer)


__all__ = ["BUS_NAME", "INTERFACE", "PATH", "Peers1"]
