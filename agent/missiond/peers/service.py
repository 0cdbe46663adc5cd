# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Peers1: the commands of the agent to this unit."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from missiond.bus.interface import Call, Interface
from missiond.bus.library import Variant
from missiond.bus.variants import parse_options
from missiond.core.link.message_types import INFO, SNAPSHOT
from missiond.core.link.timeouts import MAX_BODY
from missiond.core.link.values import Values
from missiond.core.missions.missions import Row
from missiond.core.tasks.locks import printable
from missiond.errors import AgentError, DistributedServiceFailed, InvalidParameter, PermissionDenied
from missiond.peers.agent.feed import to_bus
from missiond.peers.agent.notifier import INTERFACE, AgentNotifier
from missiond.peers.device import Device, PeerRow, SyncSubscription
from missiond.peers.pairing.session import NAME_LENGTH
from missiond.peers.transport.address import parse_address
from missiond.peers.transport.certificate import is_device_id
from missiond.peers.trust import PERMISSIONS, TrustedPeer, TrustError
from missiond.peers.unit import PeerUnit

BUS_NAME = "org.missiond.Peers1"
_PATIENCE = 10.0
"""Seconds that a first list may take."""
_TRUST = {"name": "s", "address": "s", "permissions": "as"}


class Peers1(Interface):
    """The interface of the peer unit, for the agent and root alone; the agent has asked polkit."""

    name = INTERFACE
    call_bytes = 2 * MAX_BODY

    def __init__(self, unit: PeerUnit, notifier: AgentNotifier) -> None:
        self._unit = unit
        self._notifier = notifier

    def properties(self) -> dict[str, Any]:
        """Return id and name of this host, and the list of missing things."""
        return {
            "LocalDeviceId": self._unit.identity.device_id,
            "LocalDeviceName": self._unit.name,
            "Degraded": self._notifier.missing,
        }

    def list_peers(self, _call: Call) -> list[PeerRow]:
        """List the known devices by id."""
        return sorted(device.row for device in self._unit.devices)

    def list_details(self, _call: Call) -> list[tuple[str, str, bool]]:
        """List the details of devices by id."""
        return sorted((device.device_id, *device.details) for device in self._unit.devices)

    async def request_pairing(self, _call: Call, device_id: str) -> str:
        """Begin a pairing, and return the code for people to compare."""
        self._check(device_id)
        device = self._unit.devices.get(device_id)
        if device is None:
            raise InvalidParameter(
                "no such device is known here; see that it is on the network, or trust it with an address"
            )
        if device.connected:
            raise InvalidParameter(f"{device.shown} is paired and connected already")
        return await self._unit.pairings.request(device_id, device.addresses)

    def confirm_pairing(self, _call: Call, device_id: str, accept: bool) -> None:
        """Answer for people: whether the codes are the same."""
        self._check(device_id)
        self._unit.pairings.confirm(device_id, accept)

    def trust_device(self, _call: Call, device_id: str, given: dict[str, Variant]) -> None:
        """Trust a device without pairing."""
        options = parse_options(given, _TRUST)
        self._check(device_id)
        known = self._unit.trust.get(device_id) or TrustedPeer(device_id)
        addresses = known.addresses
        if "address" in options:
            addresses = (_address(options["address"]),) if options["address"] else ()
        permissions = known.permissions
        if "permissions" in options:
            permissions = _permissions(options["permissions"])
        name = printable(options.get("name", known.name), NAME_LENGTH).strip()
        device = self._keep(
            dataclasses.replace(known, name=name, addresses=addresses, permissions=permissions)
        )
        if device.link is None:
            self._unit.dialer.wake(device)

    def unpair(self, _call: Call, device_id: str) -> None:
        """End the trust in a device."""
        self._trusted(device_id)
        self._unit.pairings.drop(device_id)
        if self._unit.trust.get(device_id) is not None:
            self._unit.revoke(device_id, "unpaired")

    def set_peer_permissions(self, _call: Call, device_id: str, permissions: list[str]) -> None:
        """Set the permissions of a peer on this host."""
        peer = self._trusted(device_id)
        self._keep(dataclasses.replace(peer, permissions=_permissions(permissions)))

    def start_sync(self, _call: Call, device_id: str, fix_conflict: bool, tag: int) -> None:
        """Keep the list of a peer in step from now on, over disconnects and restarts."""
        device = self._trusted_device(device_id)
        subscription = SyncSubscription(tag, fix_conflict)
        if device.connected and device.link is not None:
            device.link.sync(subscription)
        elif device.view.tag != tag:
            device.view.clear(tag)
        if subscription != device.subscription:
            device.refusal = ""
        device.subscription = subscription
        self._unit.subscriptions.set(device_id, subscription)
        self._unit.devices.touch(device)

    def stop_sync(self, _call: Call, device_id: str) -> None:
        """Keep the list of a peer no longer."""
        device = self._trusted_device(device_id)
        device.subscription = None
        self._unit.subscriptions.set(device_id, None)
        if device.link is not None:
            device.link.sync(None)
        device.view.clear()
        device.refusal = ""
        self._unit.devices.touch(device)

    async def missions(self, _call: Call, device_id: str, num_max: int) -> list[Row]:
        """Return at most `num_max` missions of a peer, by id; wait for a first list."""
        if num_max == 0:
            raise InvalidParameter("num_max must be at least 1")
        device = self._trusted_device(device_id)
        if device.subscription is None:
            raise DistributedServiceFailed(
                f"missions of {device.shown} are not synchronised; call StartSyncRemoteMissions first"
            )
        await self._until(device, lambda: device.view.complete or bool(device.refusal))
        if device.refusal:
            raise DistributedServiceFailed(device.refusal)
        return device.view.rows(num_max)

    async def mission_info(self, _call: Call, device_id: str, mission: int) -> dict[str, Variant]:
        """Return the details of a mission of a peer."""
        return to_bus(await self._ask(device_id, INFO, mission))

    async def mission_snapshot(self, _call: Call, device_id: str, mission: int) -> dict[str, Variant]:
        """Return the resource usage of a mission of a peer."""
        return to_bus(await self._ask(device_id, SNAPSHOT, mission))

    def watch_snapshots(self, _call: Call, device_id: str, on: bool) -> None:
        """Begin or stop to follow the snapshots of the missions of a peer."""
        device = self._trusted_device(device_id)
        device.snapshots = on
        if device.link is not None:
            device.link.want_snapshots(on)

    # --- hand-overs

    async def send_handover(self, _call: Call, device_id: str, transfer: str, step: str, body: str) -> None:
        """Send a message to the agent of a peer; return after the arrival."""
        await self._unit.handovers.send(self._trusted_device(device_id), transfer, step, body)

    async def send_state(
        self, call: Call, device_id: str, transfer: str, state: int, offset: int, size: int
    ) -> None:
        """Send the content of a file; return once the peer has all bytes."""
        device = self._trusted_device(device_id)
        await self._unit.handovers.send_state(device, transfer, call.lend_fd(state), offset, size)

    async def expect_state(
        self, call: Call, device_id: str, transfer: str, state: int, offset: int, size: int
    ) -> None:
        """Write a state from a peer to a file."""
        device = self._trusted_device(device_id)
        await self._unit.handovers.expect(device, transfer, call.lend_fd(state), offset, size)

    def follow_handovers(self, call: Call, transfers: list[list[str]]) -> list[tuple[str, bool]]:
        """Begin anew with these transfers, told to the caller; return the connected peers."""
        connected = self._unit.handovers.follow((device_id, each) for device_id, each in transfers)
        self._notifier.follow_handovers(call.sender, self._unit.handovers.reset)
        return connected

    def forget_handover(self, _call: Call, transfer: str) -> None:
        """Forget a transfer."""
        self._unit.handovers.forget(transfer)

    # --- for several of these

    def _check(self, device_id: str) -> None:
        if not is_device_id(device_id):
            raise InvalidParameter("device_id must be the 64 lower-case hexadecimal digits of a device's id")
        if device_id == self._unit.identity.device_id:
            raise InvalidParameter("device_id is that of this host; name another one")

    def _trusted(self, device_id: str) -> TrustedPeer:
        self._check(device_id)
        peer = self._unit.trust.get(device_id)
        if peer is None:
            raise InvalidParameter("this device is not paired; pair it first")
        return peer

    def _trusted_device(self, device_id: str) -> Device:
        self._trusted(device_id)
        device = self._unit.devices.get(device_id)
        assert device is not None
        return device

    async def _until(self, device: Device, ready: Callable[[], bool]) -> None:
        """Wait until it is so, as long as the device is there; raises DistributedServiceFailed."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while device.present and not ready():
                    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    device.waiting.append(waiting)
                    await waiting
        except TimeoutError:
            raise DistributedServiceFailed(f"{device.shown} does not answer; try again later") from None
        if not device.present:
            raise DistributedServiceFailed(f"{device.shown} is not connected; ask again when it is")

    async def _ask(self, device_id: str, what: str, mission: int) -> Values:
        if mission == 0:
            raise InvalidParameter("mission ids start at 1")
        device = self._trusted_device(device_id)
        await self._until(device, lambda: device.connected)
        if device.refusal:
            raise DistributedServiceFailed(device.refusal)
        answer: asyncio.Future[Values | AgentError] = asyncio.get_running_loop().create_future()

        def reply(found: Values | AgentError) -> None:
            if not answer.done():
                answer.set_result(found)

        assert device.link is not None
        device.link.ask(what, mission, reply)
        found = await answer
        if isinstance(found, PermissionDenied):  # which is about this host, not about who asked here
            raise DistributedServiceFailed(self._unit.refusal(device, found.text))
        if isinstance(found, AgentError):
            raise found
        return found

    def _keep(self, peer: TrustedPeer) -> Device:
        try:
            return self._unit.keep(peer)
        except TrustError as error:
            raise DistributedServiceFailed(f"this device can't be trusted: {error}") from None


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except ValueError as error:
        raise InvalidParameter(f"option 'address': {error}") from None


def _permissions(words: list[str]) -> tuple[str, ...]:
    unknown = [word for word in words if word not in PERMISSIONS]
    if unknown:
        raise InvalidParameter(f"permissions are {' and '.join(PERMISSIONS)}, not {unknown[0]!r:.40}")
    return tuple(word for word in PERMISSIONS if word in words)
