# SPDX-License-Identifier: Apache-2.0
"""What can be asked of the peer unit: the methods of its interface, without the bus."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from missiond.core.link.message_types import INFO, SNAPSHOT
from missiond.core.link.values import Values
from missiond.core.missions.missions import Row
from missiond.core.tasks.locks import printable
from missiond.errors import (
    AgentError,
    DistributedServiceFailed,
    InvalidParameter,
    MissionNotFound,
    PermissionDenied,
)
from missiond.peers.device import Device, PeerRow, SyncWish
from missiond.peers.pairing.session import NAME_LENGTH
from missiond.peers.transport.address import parse_address
from missiond.peers.transport.certificate import is_device_id
from missiond.peers.trust import PERMISSIONS, TrustedPeer, TrustError
from missiond.peers.unit import PeerUnit

_PATIENCE = 10.0
"""Seconds that a first list may take."""


class Commands:
    """Each raises AgentError with a sentence that says what to do."""

    def __init__(self, unit: PeerUnit) -> None:
        self._unit = unit

    @property
    def local_id(self) -> str:
        """Id of this host."""
        return self._unit.identity.device_id

    @property
    def local_name(self) -> str:
        """What this host calls itself now."""
        return self._unit.name

    def list_peers(self) -> list[PeerRow]:
        """All devices that are known, by id."""
        return sorted(device.row for device in self._unit.devices)

    def list_details(self) -> list[tuple[str, str, bool]]:
        """What there is to say of devices beside their rows, by id."""
        return sorted((device.device_id, *device.details) for device in self._unit.devices)

    async def request_pairing(self, device_id: str) -> str:
        """Begin a pairing; the code for people to compare."""
        self._check(device_id)
        device = self._unit.devices.get(device_id)
        if device is None:
            raise InvalidParameter(
                "no such device is known here; see that it is on the network, or trust it with an address"
            )
        if device.connected:
            raise InvalidParameter(f"{device.shown} is paired and connected already")
        return await self._unit.pairings.request(device_id, device.addresses)

    def confirm_pairing(self, device_id: str, accept: bool) -> None:
        """People have compared the codes."""
        self._check(device_id)
        self._unit.pairings.confirm(device_id, accept)

    def trust_device(self, device_id: str, options: Mapping[str, Any]) -> None:
        """Trust a device without pairing; `options` are checked for names and types already."""
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

    def unpair(self, device_id: str) -> None:
        """Trust a device no longer."""
        self._trusted(device_id)
        self._unit.pairings.drop(device_id)
        if self._unit.trust.get(device_id) is not None:
            self._unit.revoke(device_id, "unpaired")

    def set_peer_permissions(self, device_id: str, permissions: list[str]) -> None:
        """Say what a peer may do here."""
        peer = self._trusted(device_id)
        self._keep(dataclasses.replace(peer, permissions=_permissions(permissions)))

    def start_sync(self, device_id: str, fix_conflict: bool, tag: int) -> None:
        """Keep the list of a peer in step from now on, over disconnects and restarts."""
        device = self._trusted_device(device_id)
        wish = SyncWish(tag, fix_conflict)
        if device.connected and device.link is not None:
            device.link.sync(wish)
        elif device.view.tag != tag:
            device.view.clear(tag)
        if wish != device.wish:
            device.refusal = ""
        device.wish = wish
        self._unit.wishes.set(device_id, wish)
        self._unit.devices.touch(device)

    def stop_sync(self, device_id: str) -> None:
        """Keep it no longer."""
        device = self._trusted_device(device_id)
        device.wish = None
        self._unit.wishes.set(device_id, None)
        if device.link is not None:
            device.link.sync(None)
        device.view.clear()
        device.refusal = ""
        self._unit.devices.touch(device)

    async def missions(self, device_id: str, num_max: int) -> list[Row]:
        """At most so many of a peer's missions, by id; waits for its first list."""
        if num_max == 0:
            raise InvalidParameter("num_max must be at least 1")
        device = self._trusted_device(device_id)
        if device.wish is None:
            raise DistributedServiceFailed(
                f"missions of {device.shown} are not synchronised; call StartSyncRemoteMissions first"
            )
        await self._until(device, lambda: device.view.complete or bool(device.refusal))
        if device.refusal:
            raise DistributedServiceFailed(device.refusal)
        return device.view.rows(num_max)

    async def mission_info(self, device_id: str, mission: int) -> Values:
        """Everything that a peer tells about one mission."""
        return await self._ask(device_id, INFO, mission)

    async def mission_snapshot(self, device_id: str, mission: int) -> Values:
        """What a peer's mission uses now."""
        return await self._ask(device_id, SNAPSHOT, mission)

    def watch_snapshots(self, device_id: str, on: bool) -> None:
        """Hear of new snapshots of a peer's missions, or no longer."""
        device = self._trusted_device(device_id)
        device.snapshots = on
        if device.link is not None:
            device.link.want_snapshots(on)

    # --- hand-overs

    async def send_handover(self, device_id: str, transfer: str, step: str, body: str) -> None:
        """Return when the agent of a peer has taken a message."""
        await self._unit.handovers.send(self._trusted_device(device_id), transfer, step, body)

    async def send_state(self, device_id: str, transfer: str, fd: int, offset: int, size: int) -> None:
        """Return when a peer has all of a state."""
        device = self._trusted_device(device_id)
        await self._unit.handovers.send_state(device, transfer, fd, offset, size)

    async def expect_state(self, device_id: str, transfer: str, fd: int, offset: int, size: int) -> None:
        """Take a state of a peer's in."""
        await self._unit.handovers.expect(self._trusted_device(device_id), transfer, fd, offset, size)

    def follow_handovers(self, transfers: list[tuple[str, str]]) -> list[tuple[str, bool]]:
        """Begin anew with these transfers, and return who is connected."""
        return self._unit.handovers.follow(transfers)

    def forget_handover(self, transfer: str) -> None:
        """Have nothing to do with a transfer any more."""
        self._unit.handovers.forget(transfer)

    def leave_handovers(self) -> None:
        """The agent has gone."""
        self._unit.handovers.reset()

    # --- what they have in common

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


__all__ = ["Commands", "MissionNotFound"]
