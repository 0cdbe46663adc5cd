# SPDX-License-Identifier: Apache-2.0
"""One link: a channel to a paired device, and the session over this channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from missiond.core.link.channel import HandoverChannel
from missiond.core.link.checks import BadMessage
from missiond.core.link.letters import Chunk
from missiond.core.link.message_types import Hello, Message
from missiond.core.link.messages import chunk_head, parse, serialise
from missiond.core.link.timeouts import Patience
from missiond.core.link.values import Values
from missiond.core.sync.events import Reply
from missiond.core.sync.session import Session
from missiond.core.sync.session_config import Local, Timing
from missiond.core.sync.versioned_list import VersionedList
from missiond.errors import AgentError
from missiond.peers.device import Device, SyncSubscription
from missiond.peers.timers import Timers
from missiond.peers.transport.channel import Channel

if TYPE_CHECKING:
    from missiond.peers.agent.notifier import AgentNotifier
    from missiond.peers.handover.handovers import HandoverRelay
    from missiond.peers.links import Links
    from missiond.peers.own_names import OwnNames
    from missiond.peers.unit import PeerUnit

NAME_LENGTH = 64
_PROBE = 4000
_PROBE_EVERY = 5000


@dataclass(frozen=True, slots=True)
class LinkTerms:
    """The settings and partners common to all links of a host."""

    local: Local
    published: VersionedList
    timing: Timing
    timers: Timers
    unit: PeerUnit
    notifier: AgentNotifier
    handovers: HandoverRelay
    own_names: OwnNames
    patience: Patience = field(default_factory=Patience)
    """With hand-overs."""


class Link:
    """Owns a channel; after `closed` nothing happens any more."""

    def __init__(
        self, channel: Channel, device: Device, terms: LinkTerms, links: Links, *, dialler: str
    ) -> None:
        self.device = device
        self.dialler = dialler
        """Device id of the side that dialled."""
        self.began = terms.timers.clock.now()
        self.up_since: int | None = None
        """When both sides had accepted each other (ms since boot)."""
        self.instance = ""
        """Which run of the peer's unit it is with, once it is up."""
        self.wants_snapshots = False
        self._channel = channel
        self._timers = terms.timers
        self._links = links
        self._terms = terms
        self._over = False
        self._subscription: SyncSubscription | None = None
        self._probed = 0
        policy = terms.handovers.policy(device)
        self.handovers = HandoverChannel(policy, terms.timers.clock, self.stir, terms.patience)
        self.session = Session(
            terms.local, terms.published, terms.timers.clock, self._send, self,
            device=device.device_id, view=device.view, permitted=device.may_sync, timing=terms.timing,
            handovers=self.handovers,
        )  # fmt: skip

    @property
    def connected(self) -> bool:
        """Whether both sides have accepted each other and the link stands."""
        return self.up_since is not None and not self._over

    @property
    def host(self) -> str:
        """IP address of the other side."""
        return self._channel.host

    def start(self) -> None:
        """Say hello, and begin to listen."""
        self._subscription = self.device.subscription
        if self._subscription is not None:
            self.session.sync(*self._subscription)
        self.session.want_snapshots(self.device.snapshots)
        self.do(self.session.start)
        self._channel.attach(self)

    def catch_up(self) -> None:
        """Take over subscriptions made since the link was begun."""
        self.permit(self.device.may_sync)
        self.want_snapshots(self.device.snapshots)
        if self.device.subscription != self._subscription:
            try:
                self.sync(self.device.subscription)
            except AgentError as error:
                self.sync_refused(error)

    def do(self, action: Callable[[], None]) -> None:
        """Act on the session, and set the timer for the next deadline."""
        if self._over:
            return
        try:
            action()
        finally:
            self._arm()

    def close(self, reason: str) -> None:
        """End the link, with a word."""
        self.do(lambda: self.session.close(reason))

    def cut_off(self, reason: str) -> None:
        """End the link at once, with all under way lost."""
        self.close(reason)
        self._channel.cut_off(reason)

    def sync(self, subscription: SyncSubscription | None) -> None:
        """Keep the peer's list in step, or no longer; raises DistributedServiceFailed."""
        if subscription is None:
            self.do(self.session.stop_sync)
        else:
            self.do(lambda: self.session.sync(*subscription))

    def want_snapshots(self, on: bool) -> None:
        """Begin or stop to follow new snapshots."""
        self.do(lambda: self.session.want_snapshots(on))

    def ask(self, what: str, mission: int, callback: Reply) -> None:
        """Ask the peer about a mission; raises DistributedServiceFailed."""
        self.do(lambda: self.session.ask(what, mission, callback))

    def permit(self, may_sync: bool) -> None:
        """Let the peer have the list of this host, or not any more."""
        self.do(lambda: self.session.permit(may_sync))

    def stir(self) -> None:
        """Send the next part of hand-overs."""
        self.do(self.session.stir)

    def probe(self) -> None:
        """Look whether the peer is still there; not more often than makes sense."""
        now = self._timers.clock.now()
        if self.connected and now - self._probed >= _PROBE_EVERY:
            self._probed = now
            self.do(lambda: self.session.probe(_PROBE))

    def _arm(self) -> None:
        if not self._over:
            self._timers.at(self, self.session.next_deadline(), lambda: self.do(self.session.tick))

    def _send(self, message: Message) -> None:
        if isinstance(message, Chunk):
            self._channel.send(chunk_head(message), message.data)
        else:
            self._channel.send(serialise(message))

    # --- from the channel

    def message(self, data: bytes) -> None:
        """Take in a message."""
        try:
            message = parse(data)
        except BadMessage as error:
            text = str(error)
            self.do(lambda: self.session.broken(text))
            return
        self.do(lambda: self.session.received(message))
        self._channel.expect_bulk(bulk=self.handovers.receiving)

    def writable(self, *, now: bool) -> None:
        """Note room for more messages, or none."""
        self.do(lambda: self.session.can_send(now))

    def lost(self, reason: str, *, broken: bool) -> None:
        """End the session after the channel."""
        if broken:
            self.do(lambda: self.session.broken(reason))
        else:
            self.do(lambda: self.session.close(reason))

    # --- from the session

    def up(self, hello: Hello) -> None:
        """Note the acceptance by both sides."""
        self.up_since = self._timers.clock.now()
        self.instance = hello.instance
        self._terms.own_names.heard(self.device, hello.name)
        self._links.up(self)

    def renamed(self, name: str) -> None:
        """Take up a new name of the peer."""
        self._terms.own_names.heard(self.device, name)

    def agent_back(self) -> None:
        """Repeat hand-overs for the restarted agent of the peer."""
        self._terms.handovers.agent_back(self.device)

    def list_changed(self) -> None:
        """Tell of a changed view."""
        self._terms.unit.list_changed(self.device)

    def snapshot_changed(self, mission: int) -> None:
        """Tell of a new snapshot of a mission."""
        self._terms.notifier.snapshot_changed(self.device, mission)

    def sync_refused(self, error: AgentError) -> None:
        """Tell of a refusal by the peer, or of a conflict of versions."""
        self._terms.unit.sync_refused(self.device, error)

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """Pass a question about a mission of this host on."""

        def answer(found: Values | AgentError) -> None:
            self.do(lambda: reply(found))

        self._terms.notifier.asked(what, mission, answer)

    def snapshots_wanted(self, *, on: bool) -> None:
        """Note whether the peer follows snapshots."""
        self.wants_snapshots = on
        self._links.snapshots_wanted()

    def closed(self, reason: str, *, broken: bool) -> None:
        """End everything after the end of the session."""
        self._over = True
        self.wants_snapshots = False
        self._timers.drop(self)
        if broken:
            self._channel.cut_off(reason)
        else:
            self._channel.close()
        self._links.closed(self, reason, broken=broken)
