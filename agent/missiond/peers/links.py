# SPDX-License-Identifier: Apache-2.0
"""The links of this host: one a peer, dialled from either side."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from functools import partial

from missiond.core.tasks.locks import printable
from missiond.peers.device import Device, Devices
from missiond.peers.link import Link, LinkTerms
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.transport.address import group
from missiond.peers.transport.channel import Channel

_YOUNG = 10_000
"""Two that dial each other in the same moment agree which link stays; a link older than that, of which the
other side knows nothing any more, gives way."""
_REASON = 200
DUPLICATE = "another link is used"
_LOGGER = logging.getLogger(__name__)


class Links:
    """Takes channels to paired devices, and decides between two to one device."""

    def __init__(self, terms: LinkTerms, devices: Devices, complaints: PeerLogLimiter) -> None:
        self._terms = terms
        self._devices = devices
        self._complaints = complaints
        self._own = terms.local.device
        self._snapshots_wanted = False

    def __iter__(self) -> Iterator[Link]:
        return (link for device in self._devices for link in (device.link, device.next) if link is not None)

    def take(self, channel: Channel, device: Device, *, dialled_here: bool) -> None:
        """Make a link of a channel; another to the same device gives way, or this one does."""
        dialler = self._own if dialled_here else device.device_id
        old = device.link
        if old is not None and ((dialled_here and old.connected) or not self._gives_way(old, dialler)):
            channel.close()
            return
        link = Link(channel, device, self._terms, self, dialler=dialler)
        if old is None:
            device.link = link
        else:
            later, device.next = device.next, link
            if later is not None:
                later.close(DUPLICATE)
        link.start()

    def _gives_way(self, old: Link, dialler: str) -> bool:
        """Between young links the one counts that the lower device id dialled; else the newer one."""
        age = self._terms.timers.clock.now() - old.began
        return old.dialler == dialler or age >= _YOUNG or dialler < old.dialler

    def rename(self, name: str) -> None:
        """Give this host another name on present and coming links."""
        local = dataclasses.replace(self._terms.local, name=name)
        self._terms = dataclasses.replace(self._terms, local=local)
        for link in self:
            link.do(partial(link.session.rename, name))

    def published_changed(self) -> None:
        """Tell peers of changes in the list of this host."""
        for link in self:
            link.do(link.session.published_changed)

    def snapshot_changed(self, mission: int) -> None:
        """Tell peers of a new snapshot of a mission of this host."""
        for link in self:
            if link.wants_snapshots:
                link.do(partial(link.session.snapshot_changed, mission))

    def close(self, reason: str) -> None:
        """End all links."""
        for link in list(self):
            link.close(reason)

    def cut_off(self, device: Device, reason: str) -> None:
        """End the links to one device at once."""
        for link in (device.next, device.link):
            if link is not None:
                link.cut_off(reason)

    # --- from links

    def up(self, link: Link) -> None:
        """Put a link in use after acceptance by both sides."""
        device = link.device
        if device.next is link:
            device.next, old, device.link = None, device.link, link
            if old is not None:
                old.close(DUPLICATE)
        link.catch_up()
        device.origin = group(link.host)
        _LOGGER.info("connected to %s at %s", device.shown, link.host)
        self._terms.unit.connected(device)
        device.stir()
        self._devices.touch(device)

    def closed(self, link: Link, reason: str, *, broken: bool) -> None:
        """Forget a link after the end."""
        device = link.device
        reason = printable(reason, _REASON)
        if broken:
            self._complaints.report(f"{device.shown} at {link.host}", reason)
        self.snapshots_wanted()
        if device.next is link:
            device.next = None
        if device.link is not link:
            return  # another is in its place
        device.link, device.next = device.next, None
        device.stir()
        if device.link is not None:
            return
        if link.up_since is not None:
            _LOGGER.info("no longer connected to %s: %s", device.shown, reason)
        self._terms.unit.disconnected(link, reason, broken=broken)
        self._devices.touch(device)

    def snapshots_wanted(self) -> None:
        """Tell of the first peer to follow snapshots, and of the last to stop."""
        wanted = any(link.wants_snapshots for link in self)
        if wanted != self._snapshots_wanted:
            self._snapshots_wanted = wanted
            self._terms.notifier.snapshots_wanted(on=wanted)
