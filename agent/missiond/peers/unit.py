# SPDX-License-Identifier: Apache-2.0
"""The peer unit without the bus: identity, trust, links and pairing put together."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import missiond
from missiond.core.carriage.kinds import HANDOVER
from missiond.core.carriage.limits import Patience
from missiond.core.locks import printable
from missiond.core.missions import Row
from missiond.core.sync.events import Reply
from missiond.core.sync.published import Published
from missiond.core.sync.terms import VERSIONS, Local, Timing
from missiond.errors import AgentError, SystemServiceFailed
from missiond.host.boottime import BootClock
from missiond.peers import identity as identities
from missiond.peers.address import PORT, Address
from missiond.peers.certificate import BadCertificate, check, device_id
from missiond.peers.channel import Channel
from missiond.peers.complaints import Complaints
from missiond.peers.device import Device, Devices
from missiond.peers.dialer import Dialer
from missiond.peers.events import UnitEvents
from missiond.peers.handovers import Handovers, supports
from missiond.peers.link import Link, Terms
from missiond.peers.links import Links
from missiond.peers.listener import Listener
from missiond.peers.pairings import Pairings
from missiond.peers.sockets import listen
from missiond.peers.strangers import Strangers
from missiond.peers.timers import Timers
from missiond.peers.tls import Contexts
from missiond.peers.trust import Peer, TrustError, TrustStore
from missiond.peers.wishes import Wishes

_LOGGER = logging.getLogger(__name__)
_GATHER = 400
"""Milliseconds in which discovery may find further addresses of a device, better ones perhaps."""
_LIST_IDS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Options:
    """How a unit is set up."""

    state: Path
    """Directory with the identity, which must be there already; trust is kept below it."""
    name: str
    """What this host is called."""
    port: int = PORT
    hosts: tuple[str, ...] = ()
    """IP addresses to listen on; all where empty."""
    versions: tuple[int, int] = VERSIONS
    timing: Timing = field(default_factory=Timing)
    features: tuple[str, ...] = (HANDOVER,)
    patience: Patience = field(default_factory=Patience)


class PeerUnit:
    """Needs a running loop; `start`, then `close`. `commands` has what people and the agent want of it."""

    def __init__(self, options: Options, events: UnitEvents) -> None:
        """Raises IdentityError."""
        self._options = options
        self._events = events
        self.identity = identities.load(options.state)
        self.name = options.name
        self.timers = Timers(BootClock())
        self.complaints = Complaints(self.timers.clock)
        self.trust = TrustStore(options.state / "peers")
        self._contexts = Contexts(self.identity, self.trust.certificates)
        self.wishes = Wishes(options.state / "wishes.json")
        self.devices = Devices(events.peer_changed, events.peer_gone)
        self.handovers = Handovers(self.devices, events, self.complaints, self.timers.clock)
        self.published = Published(1 + int.from_bytes(os.urandom(8), "big") % _LIST_IDS)
        instance, software = os.urandom(8).hex(), f"missiond {missiond.__version__}"
        local = Local(
            self.identity.device_id, options.name, instance, software, options.versions, options.features
        )
        terms = Terms(
            local, self.published, options.timing, self.timers, self, self.handovers.desk, options.patience
        )
        self.links = Links(terms, self.devices, self, self.complaints)
        self.pairings = Pairings(
            self.identity, self._contexts, options.name, self.timers, self.complaints, self
        )
        self.dialer = Dialer(
            self.identity, self._contexts, self.timers, self.complaints, self._dialled, self._learn
        )
        self._strangers = Strangers(self.timers, self.complaints, self.pairings.called, self._introduced)
        self._listener = Listener(
            lambda: self._contexts.server, self.complaints, self._paired, self._strangers.take, self._familiar
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.port

    def start(self) -> None:
        """Load what is known, listen and dial; raises OSError."""
        self.trust.load()
        wishes = self.wishes.load()
        for peer in self.trust:
            device = self.devices.trusted(peer)
            device.wish = wishes.get(peer.device_id)
        self._listener.start(listen(self._options.hosts, self._options.port))
        for device in self.devices:
            self.dialer.wake(device)

    async def close(self) -> None:
        """End everything, with a word to the peers."""
        await self._listener.close()
        tasks = self.dialer.close()
        self.pairings.close()
        self.links.close("shutting down")
        self.handovers.reset()
        self._strangers.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.timers.close()

    # --- the list of this host

    def publish(self, rows: Sequence[Row]) -> None:
        """Make these the missions that peers see."""
        if self.published.replace(rows):
            self.links.published_changed()

    def publish_changes(self, rows: Sequence[Row], removed: Sequence[int]) -> None:
        """Change or add some, and take others away."""
        if self.published.change(rows, removed):
            self.links.published_changed()

    # --- trust

    def keep(self, peer: Peer) -> Device:
        """Trust a device, or change what is known of it; raises SystemServiceFailed and TrustError."""
        before = self.trust.get(peer.device_id)
        try:
            self.trust.put(peer)
        except OSError as error:
            raise SystemServiceFailed(f"the peer can't be saved: {error.strerror}") from None
        if peer.certificate is not None and (before is None or before.certificate is None):
            self._contexts.trust(peer.certificate)
        device = self.devices.trusted(peer)
        if device.link is not None:
            device.link.permit(device.may_sync)
        return device

    def revoke(self, device_id: str, reason: str) -> None:
        """Trust a device no longer: its link is cut now. Raises SystemServiceFailed."""
        try:
            self.trust.remove(device_id)
        except OSError as error:
            raise SystemServiceFailed(f"the trust can't be removed: {error.strerror}") from None
        self._contexts.reset()
        device = self.devices.get(device_id)
        if device is None:
            return
        device.peer = None
        self.dialer.forget(device)
        self.wishes.set(device_id, None)
        device.wish, device.snapshots = None, False
        self.handovers.drop(device_id, reason)
        self.links.cut_off(device, reason)
        device.view.clear()
        self.devices.touch(device)

    def _learn(self, device: Device, certificate: bytes) -> None:
        """Keep a certificate whose hash is the id of a peer that we know by its id alone."""
        peer = device.peer
        if peer is None or peer.certificate is not None or device_id(certificate) != peer.device_id:
            return
        try:
            self.keep(Peer(peer.device_id, peer.name, certificate, peer.addresses, peer.permissions))
        except (TrustError, AgentError) as error:
            self.complaints.report(device.shown, str(error))

    def _introduced(self, certificate: bytes) -> None:
        """Somebody shows a certificate: of use where its id is trusted already, else nothing."""
        device = self.devices.get(device_id(certificate))
        if device is None or device.peer is None or device.peer.certificate is not None:
            return
        try:
            check(certificate)
        except BadCertificate:
            return
        self._learn(device, certificate)

    # --- channels

    def _paired(self, channel: Channel) -> None:
        """Take a client whose certificate OpenSSL accepts: a peer may have issued it, or trust has ended."""
        device = self.devices.get(channel.device_id)
        if device is None or device.peer is None:
            self.complaints.report(f"a connection from {channel.host}", "its certificate is not trusted")
            channel.cut_off("not trusted")
            return
        self.links.take(channel, device, dialled_here=False)

    def _familiar(self) -> set[str]:
        """Where peers have been connected: TLS has proved that, whatever discovery says."""
        return {device.origin for device in self.devices if device.peer is not None}

    def _dialled(self, channel: Channel, device: Device) -> None:
        self.links.take(channel, device, dialled_here=True)

    # --- from discovery

    def found(self, device_id: str, source: str, addresses: Sequence[str], port: int) -> None:
        """Somebody says that this device is there; TLS will tell."""
        if device_id == self.identity.device_id:
            return
        known = self.devices.get(device_id)
        again = known is None or source not in known.sources
        new = self.devices.found(device_id, source, [Address(host, port) for host in addresses])
        device = self.devices.get(device_id)
        if device is None or device.peer is None:
            return
        if device.link is None and (new or again):
            self.dialer.wake(device, _GATHER)
        elif device.link is not None and again:
            device.link.probe()

    def lost(self, device_id: str, source: str) -> None:
        """Nobody says so any more; a link, if there is one, knows better."""
        self.devices.lost(device_id, source)

    def network_changed(self) -> None:
        """There may be a new way to everybody: links must prove themselves, who is away is dialled now."""
        for device in self.devices:
            if device.peer is None:
                continue
            if device.link is not None:
                device.link.probe()
            else:
                self.dialer.renew(device)

    # --- from links

    def connected(self, device: Device) -> None:
        """A peer is there."""
        peer = device.peer
        if peer is not None and not peer.name and device.name:
            try:
                self.keep(
                    Peer(peer.device_id, device.name, peer.certificate, peer.addresses, peer.permissions)
                )
            except (TrustError, AgentError) as error:
                _LOGGER.warning("the name of %s can't be kept: %s", device.shown, error)
        device.present = True
        self._events.link_up(device, handovers=supports(device))

    def disconnected(self, link: Link, reason: str, *, broken: bool) -> None:
        """A peer is there no more, or never was."""
        device = link.device
        if device.present:
            device.present = False
            self._events.net_disconnect(device)
            self._events.link_down(device)
        if device.peer is not None:
            now = self.timers.clock.now()
            lasted = now - link.up_since if link.up_since is not None else None
            here = link.dialler == self.identity.device_id
            self.dialer.ended(device, reason, lasted=lasted, dialled_here=here, broken=broken)

    def snapshots_wanted(self, *, on: bool) -> None:
        """Tell whether any peer wants to hear of snapshots."""
        self._events.snapshots_wanted(on=on)

    def list_changed(self, device: Device) -> None:
        """Tell what is known of a peer's missions has changed."""
        device.refusal = ""
        device.stir()
        self._events.list_changed(device)

    def snapshot_changed(self, device: Device, mission: int) -> None:
        """Pass it on."""
        self._events.snapshot_changed(device, mission)

    def sync_refused(self, device: Device, error: AgentError) -> None:
        """Remember why a list does not come."""
        device.refusal = error.text
        device.stir()
        _LOGGER.warning("%s does not let its missions be seen: %s", device.shown, printable(error.text, 200))

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """Pass it on."""
        self._events.asked(what, mission, reply)

    # --- from pairings

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """People are to compare a code that they did not ask for."""
        self._events.pairing_requested(device_id, name, code)

    def pairing_began(self, device_id: str, name: str) -> None:
        """A pairing with this device is under way."""
        self.devices.pairing(device_id, name)

    def pairing_confirmed(self, device_id: str, name: str, certificate: bytes) -> bool:
        """People here said yes."""
        known = self.trust.get(device_id)
        peer = Peer(device_id, name, certificate)
        if known is not None:
            peer = Peer(device_id, known.name or name, certificate, known.addresses, known.permissions)
        try:
            self.keep(peer)
        except TrustError as error:
            raise SystemServiceFailed(f"this device can't be trusted: {error}") from None
        return known is None

    def pairing_revoked(self, device_id: str) -> None:
        """People there said no."""
        try:
            self.revoke(device_id, "not paired")
        except AgentError as error:
            _LOGGER.error("%s", error)

    def pairing_over(self, device_id: str) -> None:
        """It has ended."""
        device = self.devices.get(device_id)
        if device is None:
            return
        device.pairing = False
        self.devices.touch(device)
        if device.peer is not None and device.link is None:
            self.dialer.wake(device)
