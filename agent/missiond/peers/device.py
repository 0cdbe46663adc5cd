# SPDX-License-Identifier: Apache-2.0
"""Known devices: trusted ones, and announced ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from missiond.core.link.checks import Tag
from missiond.core.sync.replica import Replica
from missiond.peers.transport.address import Address, parse_address
from missiond.peers.trust import CONTINUE, SYNC, TrustedPeer

if TYPE_CHECKING:
    from missiond.peers.link import Link

DISCOVERED, PAIRING, OFFLINE, CONNECTED = "discovered", "pairing", "offline", "connected"

PeerRow = tuple[str, str, str, list[str], list[str]]
"""A row of ListPeers `(sssasas)`: id, name, state, addresses, permissions."""

PeerDetails = tuple[str, bool]
"""The reason for no connection or no missions (empty: neither); whether the list is kept in step here."""

MOST_STRANGERS = 256
_MOST_SOURCES = 16
_MOST_ADDRESSES = 8
_MOST_INSTANCES = 8


class SyncSubscription(NamedTuple):
    """The options of StartSync."""

    tag: Tag
    fix_conflict: bool


@dataclass(slots=True, eq=False)
class Device:
    """A device, with all present knowledge."""

    device_id: str
    peer: TrustedPeer | None = None
    """The entry in the trust store; None for a stranger."""
    name: str = ""
    """The device's own name, shown where people gave no other."""
    view: Replica = field(default_factory=Replica)
    sources: dict[str, tuple[Address, ...]] = field(default_factory=dict)
    """Addresses from discovery, by source."""
    former: tuple[Address, ...] = ()
    """Former addresses from discovery.

    Multicast DNS loses sight of hosts that are still there, when a cable is out for a moment, and finds them
    again after minutes.
    """
    origin: str = ""
    """The origin of the latest connection, as of `address.group`."""
    link: Link | None = None
    next: Link | None = None
    """The successor of `link`, once both sides have accepted each other on this one."""
    subscription: SyncSubscription | None = None
    snapshots: bool = False
    """Whether somebody here wants to hear of new snapshots."""
    said_again: int = -(1 << 31)
    """Time of the latest repetition of all hand-overs for a restarted agent there (ms since boot)."""
    instances: tuple[str, ...] = ()
    """Connected runs of the device's unit, the latest last: one host never returns to an earlier run."""
    pairing: bool = False
    present: bool = False
    """Whether the device has been connected and not been lost since."""
    trouble: str = ""
    """The reason for the latest failure to connect, for people."""
    announced: str = ""
    """The name in the latest announcement, from anybody."""
    refusal: str = ""
    """The reason of the device for giving no list."""
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    """Callers waiting for the device's list."""
    told: PeerRow | None = None
    """The latest row told to others."""
    told_details: PeerDetails | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a link with acceptance by both sides.

        While one link takes the place of another there may be none for a moment, though the device is
        `present` all the time.
        """
        return self.link is not None and self.link.connected

    @property
    def state(self) -> str:
        """One of the four words of ListPeers."""
        if self.present and self.peer is not None:
            return CONNECTED
        if self.pairing:
            return PAIRING
        return DISCOVERED if self.peer is None else OFFLINE

    @property
    def shown(self) -> str:
        """A name for people, the start of the id without one."""
        return (self.peer.name if self.peer is not None else "") or self.name or self.device_id[:16]

    @property
    def addresses(self) -> list[Address]:
        """Addresses to try, each once: fixed ones, then IPv6 ones, as link-local ones always work."""
        fixed = [parse_address(text) for text in self.peer.addresses] if self.peer is not None else []
        found = [address for source in self.sources.values() for address in source]
        found.sort(key=lambda address: ":" not in address.host)
        return list(dict.fromkeys([*fixed, *found]))

    def meet(self, instance: str) -> bool:
        """Note the run of the device's unit; return true where two hosts take turns in one device's name."""
        turns = instance in self.instances[:-1]
        if instance not in self.instances[-1:]:
            self.instances = (*self.instances, instance)[-_MOST_INSTANCES:]
        return turns

    def stir(self) -> None:
        """Let callers waiting for the list look again."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    @property
    def may_sync(self) -> bool:
        """Whether the device may have the list of this host."""
        return self.peer is not None and SYNC in self.peer.permissions

    @property
    def may_continue(self) -> bool:
        """Whether the device may begin hand-overs."""
        return self.peer is not None and CONTINUE in self.peer.permissions

    @property
    def row(self) -> PeerRow:
        """The row of the device for a list."""
        name = (self.peer.name if self.peer is not None else self.announced) or self.name
        permissions = list(self.peer.permissions) if self.peer is not None else []
        return self.device_id, name, self.state, [str(address) for address in self.addresses], permissions

    @property
    def details(self) -> PeerDetails:
        """The details of the device beside the row."""
        if self.state == CONNECTED:
            return self.refusal, self.subscription is not None
        return self.trouble if self.state == OFFLINE else "", self.subscription is not None


class Devices:
    """The known devices by id.

    `changed` and `gone` are called when a row is new, another, or no longer there, and `detailed` when its
    details are others.
    """

    def __init__(
        self,
        changed: Callable[[Device], None],
        detailed: Callable[[Device], None],
        gone: Callable[[str], None],
    ) -> None:
        self._devices: dict[str, Device] = {}
        self._detailed = detailed
        self._changed = changed
        self._gone = gone

    def __iter__(self) -> Iterator[Device]:
        return iter(list(self._devices.values()))

    def get(self, device_id: str) -> Device | None:
        """Return the one with this id."""
        return self._devices.get(device_id)

    def trusted(self, peer: TrustedPeer) -> Device:
        """Take in an entry of the trust store, new or changed."""
        device = self._devices.get(peer.device_id) or self._add(peer.device_id)
        device.peer = peer
        device.name = device.name or peer.own_name
        self.touch(device)
        return device

    def found(self, device_id: str, source: str, addresses: Sequence[Address], name: str = "") -> bool:
        """Take in news of discovery; return true for a new address. Too many strangers are ignored."""
        device = self._devices.get(device_id)
        if device is None:
            if sum(other.peer is None for other in self._devices.values()) >= MOST_STRANGERS:
                return False
            device = self._add(device_id)
        if source not in device.sources and len(device.sources) >= _MOST_SOURCES:
            return False
        before = set(device.addresses)
        device.sources[source] = tuple(addresses[:_MOST_ADDRESSES])
        device.announced = name or device.announced
        self.touch(device)
        return not set(device.addresses) <= before

    def lost(self, device_id: str, source: str) -> None:
        """Drop the addresses of one source of discovery."""
        device = self._devices.get(device_id)
        gone = device.sources.pop(source, None) if device is not None else None
        if device is not None and gone is not None:
            device.former = tuple(dict.fromkeys([*gone, *device.former]))[:_MOST_ADDRESSES]
            self.touch(device)

    def touch(self, device: Device) -> None:
        """Tell of all changes of a device; forget a device with nothing left."""
        if device.peer is None and not device.sources and not device.pairing and device.link is None:
            if self._devices.pop(device.device_id, None) is not None:
                self._gone(device.device_id)
            return
        row = device.row
        if row != device.told:
            device.told = row
            self._changed(device)
        if device.details != (device.told_details or ("", False)):
            device.told_details = device.details
            self._detailed(device)

    def pairing(self, device_id: str, name: str) -> Device:
        """Take in a device in a pairing, known to discovery or not."""
        device = self._devices.get(device_id) or self._add(device_id)
        device.pairing = True
        device.name = name or device.name
        self.touch(device)
        return device

    def _add(self, device_id: str) -> Device:
        device = self._devices[device_id] = Device(device_id)
        return device
