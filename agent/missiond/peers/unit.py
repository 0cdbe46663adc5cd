# SPDX-License-Identifier: Apache-2.0
"""The peer unit without the bus: identity, trust, links and pairing put together."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import missiond
from missiond.core.link.letters import HANDOVER
from missiond.core.link.timeouts import Patience
from missiond.core.missions.missions import Row
from missiond.core.sync.server_half import UNPERMITTED
from missiond.core.sync.session_config import VERSIONS, Local, Timing
from missiond.core.sync.versioned_list import VersionedList
from missiond.core.tasks.locks import printable
from missiond.errors import AgentError, SystemServiceFailed
from missiond.host.clocks.boottime import BootClock
from missiond.peers import IDENTITY as FILE
from missiond.peers.device import Device, Devices
from missiond.peers.dialer import Dialer
from missiond.peers.handover.handovers import HandoverRelay, supports
from missiond.peers.link import NAME_LENGTH, Link, LinkTerms
from missiond.peers.links import Links
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.own_names import OwnNames
from missiond.peers.pairing.pairings import Pairings
from missiond.peers.sync_subscriptions import SyncSubscriptions
from missiond.peers.timers import Timers
from missiond.peers.transport import identity as identities
from missiond.peers.transport.address import PORT, Address
from missiond.peers.transport.certificate import BadCertificate, check, device_id
from missiond.peers.transport.channel import ENDING, Channel, Channels
from missiond.peers.transport.listener import Listener
from missiond.peers.transport.listening import Listening
from missiond.peers.transport.sockets import has
from missiond.peers.transport.tls import Contexts
from missiond.peers.transport.unauthenticated import UnauthenticatedClients
from missiond.peers.trust import TrustedPeer, TrustError, TrustStore

if TYPE_CHECKING:
    from missiond.peers.agent.notifier import AgentNotifier

_LOGGER = logging.getLogger(__name__)
_GATHER = 400
"""Milliseconds in which discovery may find further addresses of a device, better ones perhaps."""
_LIST_IDS = 2**63 - 1
_REASON = 200
_COPIES = (
    f"as copies of one disk do; on the copy, remove /var/lib/missiond-peers/{FILE}, restart missiond-peers, "
    "and pair it"
)
_TURNS = 600_000
"""Milliseconds after which two hosts that took turns in one device's name have found another, perhaps."""


@dataclass(frozen=True, slots=True)
class PeerUnitOptions:
    """The options of a unit."""

    state: Path
    """Directory with the identity, made before; trust is kept below."""
    name: str
    """The name of this host."""
    port: int = PORT
    hosts: tuple[str, ...] = ()
    """IP addresses to listen on; all where empty."""
    versions: tuple[int, int] = VERSIONS
    timing: Timing = field(default_factory=Timing)
    features: tuple[str, ...] = (HANDOVER,)
    patience: Patience = field(default_factory=Patience)
    pace: float = 1.0
    """Factor of the pauses between dials."""


class PeerUnit:
    """Needs a running loop; `start`, then `close`. The agent's commands come through `service.Peers1`."""

    def __init__(self, options: PeerUnitOptions, notifier: AgentNotifier) -> None:
        """Build the parts of the unit; raises IdentityError."""
        self._options = options
        self._notifier = notifier
        self.identity = identities.load(options.state)
        self.name = options.name
        self.timers = Timers(BootClock())
        self.complaints = PeerLogLimiter(self.timers.clock)
        self.trust = TrustStore(options.state / "peers")
        self._contexts = Contexts(self.identity, self.trust.certificates)
        self.channels = Channels()
        self.subscriptions = SyncSubscriptions(options.state / "wishes.json")
        self.devices = Devices(notifier.peer_changed, notifier.details_changed, notifier.peer_gone)
        self.handovers = HandoverRelay(self.devices, notifier, self.complaints, self.timers)
        self.published = VersionedList(1 + int.from_bytes(os.urandom(8), "big") % _LIST_IDS)
        instance, software = os.urandom(8).hex(), f"missiond {missiond.__version__}"
        local = Local(
            self.identity.device_id, options.name, instance, software, options.versions, options.features
        )
        self.own_names = OwnNames(self.devices, self.timers, self.keep)
        terms = LinkTerms(
            local, self.published, options.timing, self.timers,
            self, notifier, self.handovers, self.own_names, options.patience,
        )  # fmt: skip
        self.links = Links(terms, self.devices, self.complaints)
        self.pairings = Pairings(
            self.identity, self._contexts, self.channels, self.timers, self.complaints, self
        )
        self.dialer = Dialer(
            self.identity,
            self._contexts,
            self.channels,
            self.timers,
            self.complaints,
            partial(self.links.take, dialled_here=True),
            self._learn,
            self.devices.touch,
            options.pace,
        )
        self._strangers = UnauthenticatedClients(
            self.identity, self.timers, self.complaints, self.pairings.called, self._introduced
        )
        self._listener = Listener(
            lambda: self._contexts.server,
            self.channels,
            self.complaints,
            self._paired,
            self._strangers.take,
            self._familiar,
        )
        self._listening = Listening(
            options.hosts, options.port, self._listener, self.timers, partial(notifier.lacks, "port")
        )

    @property
    def port(self) -> int:
        """The port for others to try, open or not yet."""
        return self._listening.port

    def start(self) -> None:
        """Load the saved state, listen and dial; raises OSError for an unusable state directory."""
        self.trust.load()
        subscriptions = self.subscriptions.load()
        for peer in self.trust:
            device = self.devices.trusted(peer)
            device.subscription = subscriptions.get(peer.device_id)
        self._listening.look()
        for device in self.devices:
            self.dialer.wake(device)

    async def close(self) -> None:
        """End everything, with a word to the peers: afterwards no connection is open."""
        self._listening.close()
        await self._listener.close()
        tasks = self.dialer.close()
        self.pairings.close()
        self.links.close(ENDING)
        self.handovers.reset()
        self._strangers.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.channels.close()
        self.timers.close()

    # --- what this host says of itself

    def rename(self, name: str) -> None:
        """Change the name of this host, and tell peers."""
        self.name = name
        self.links.rename(name)

    def publish(self, rows: Sequence[Row]) -> None:
        """Replace the missions shown to peers."""
        if self.published.replace(rows):
            self.links.published_changed()

    def publish_changes(self, rows: Sequence[Row], removed: Sequence[int]) -> None:
        """Change or add some missions, and take others away."""
        if self.published.change(rows, removed):
            self.links.published_changed()

    # --- trust

    def keep(self, peer: TrustedPeer) -> Device:
        """Trust a device, or change the entry of one; raises SystemServiceFailed and TrustError."""
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
        """End the trust in a device, and cut links to the device. Raises SystemServiceFailed."""
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
        self.subscriptions.set(device_id, None)
        device.subscription, device.snapshots = None, False
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
            self.keep(dataclasses.replace(peer, certificate=certificate))
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

    # --- from discovery

    def found(self, device_id: str, source: str, addresses: Sequence[str], port: int, name: str = "") -> None:
        """Take in a device from discovery, with an unproved name; TLS proves the device later."""
        if device_id == self.identity.device_id:
            self._found_own(addresses)
            return
        known = self.devices.get(device_id)
        again = known is None or source not in known.sources
        places = [Address(host, port) for host in addresses]
        new = self.devices.found(device_id, source, places, printable(name, NAME_LENGTH).strip())
        device = self.devices.get(device_id)
        if device is None or device.peer is None:
            return
        if device.link is None and (new or again):
            self.dialer.wake(device, _GATHER)
        elif device.link is not None and again:
            device.link.probe()

    def _found_own(self, addresses: Sequence[str]) -> None:
        """Tell where another host says that it is this one."""
        elsewhere = [address for address in addresses if not has(address)]
        if elsewhere:
            self._notifier.lacks("own id", f"the host at {elsewhere[0]} uses this host's id, {_COPIES}")
            self.timers.after("own id", _TURNS, lambda: self._notifier.lacks("own id", None))

    def lost(self, device_id: str, source: str) -> None:
        """Take in the loss of a device by discovery; a link, if there is one, knows better."""
        self.devices.lost(device_id, source)

    def network_changed(self) -> None:
        """Probe links and dial everybody else: the network may have new ways."""
        self._listening.look()
        for device in self.devices:
            if device.peer is None:
                continue
            if device.link is not None:
                device.link.probe()
            else:
                self.dialer.renew(device)

    # --- from links

    def connected(self, device: Device) -> None:
        """Note the connection of a peer."""
        device.present, device.trouble = True, ""
        if device.link is not None and device.meet(device.link.instance):
            self._two_in_one(device)
        self._notifier.link_up(device, handovers=supports(device))

    def _two_in_one(self, device: Device) -> None:
        """Say for a while that two hosts have the id of one device: they throw each other out."""
        about = f"clone {device.device_id}"
        which = f"{device.shown} ({device.device_id[:16]})"
        self._notifier.lacks(about, f"two hosts use the id of {which} in turns, {_COPIES}")
        self.timers.after(about, _TURNS, lambda: self._notifier.lacks(about, None))

    def disconnected(self, link: Link, reason: str, *, broken: bool) -> None:
        """Note the end of the last link to a peer, connected before or not."""
        device = link.device
        if device.present:
            device.present = False
            self._notifier.net_disconnect(device)
            self._notifier.link_down(device)
        if device.peer is not None:
            now = self.timers.clock.now()
            lasted = now - link.up_since if link.up_since is not None else None
            here = link.dialler == self.identity.device_id
            self.dialer.ended(device, reason, lasted=lasted, dialled_here=here, broken=broken)

    def list_changed(self, device: Device) -> None:
        """Tell of a change in the known missions of a peer."""
        device.refusal = ""
        device.stir()
        self.devices.touch(device)
        self._notifier.list_changed(device)

    def sync_refused(self, device: Device, error: AgentError) -> None:
        """Remember the reason for a missing list."""
        device.refusal = self.refusal(device, error.text)
        device.stir()
        _LOGGER.warning("%s", device.refusal)
        self.devices.touch(device)
        self._notifier.refused(device)

    def refusal(self, device: Device, reason: str) -> str:
        """Return the sentence for people about a peer without missions to show."""
        shown = device.shown
        if UNPERMITTED in reason:
            does_not = "does not let this host see its missions"
            return f"{shown} {does_not}; on {shown}: missionctl peers allow {self.name} sync"
        return f"{shown}: {printable(reason, _REASON)}"

    # --- from pairings

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """Tell of a code from another host for people to compare."""
        known = self.trust.get(device_id)
        self._notifier.pairing_requested(device_id, (known.name if known is not None else "") or name, code)

    def pairing_began(self, device_id: str, name: str) -> None:
        """Note the begin of a pairing with a device."""
        self.devices.pairing(device_id, name)

    def pairing_confirmed(self, device_id: str, name: str, certificate: bytes) -> bool:
        """Trust a device after the yes of people here; return whether the trust is new."""
        known = self.trust.get(device_id)
        peer = known or TrustedPeer(device_id)
        own_name = name or peer.own_name
        try:
            self.keep(dataclasses.replace(peer, certificate=certificate, own_name=own_name))
        except TrustError as error:
            raise SystemServiceFailed(f"this device can't be trusted: {error}") from None
        return known is None

    def pairing_revoked(self, device_id: str) -> None:
        """End the trust in a device after the no of people there."""
        try:
            self.revoke(device_id, "not paired")
        except AgentError as error:
            _LOGGER.error("%s", error)

    def pairing_over(self, device_id: str) -> None:
        """Note the end of a pairing."""
        if (device := self.devices.get(device_id)) is None:
            return
        device.pairing = False
        self.devices.touch(device)
        if device.peer is not None and device.link is None:
            self.dialer.wake(device)
