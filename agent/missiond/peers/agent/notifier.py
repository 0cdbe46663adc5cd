# SPDX-License-Identifier: Apache-2.0
"""Signals of the peer unit, for the agent alone."""

from __future__ import annotations

import logging
from collections.abc import Callable

from missiond.bus.connection import Connection
from missiond.bus.server import Server
from missiond.bus_names import BUS_NAME as AGENT
from missiond.common.background_work import BackgroundWork
from missiond.common.subscription import Subscription
from missiond.core.link.interfaces import Reply as Outcome
from missiond.core.sync.events import Reply
from missiond.errors import AgentError
from missiond.peers.agent.feed import AgentFeed
from missiond.peers.agent.gathering import Gathering
from missiond.peers.device import Device

INTERFACE = "org.missiond.Peers1"
PATH = "/org/missiond/Peers1"
NET_DISCONNECTED, NET_REFUSED = 0, 1
"""States of NetDisconnect: not connected any more; connected, and gives this host no list."""
_LOGGER = logging.getLogger(__name__)


class AgentNotifier:
    """Tells the agent, as owner of its name, about peers, and passes their questions on to `feed`.

    Signals without an agent are dropped: a new one asks anyway. The methods are called from the loop and do
    not raise.
    """

    def __init__(
        self, server: Server, connection: Connection, feed: AgentFeed, touch: Callable[[], None]
    ) -> None:
        self._server = server
        self._connection = connection
        self._touch = touch
        self._feed = feed
        self._questions = BackgroundWork(_LOGGER, "a question of a peer")
        self._news = Gathering(self._list_changed, self._snapshot_changed)
        self._follower = ""
        """Unique name of who is told of hand-overs."""
        self._leaving: Subscription | None = None
        self._missing: dict[str, str] = {}

    async def start(self) -> None:
        """Learn who the agent is, now and later."""
        self._connection.watch_name(AGENT, lambda _old, _new: None)
        await self._connection.names.settle(AGENT)

    def close(self) -> None:
        """Answer no more questions, and tell no more."""
        self._news.close()
        self._questions.close()

    def follow_handovers(self, name: str, left: Callable[[], None]) -> None:
        """Tell this connection of hand-overs, and call `left` when it has gone."""
        if self._leaving is not None:
            self._leaving.close()
        self._follower = name

        def gone() -> None:
            self._follower, self._leaving = "", None
            left()

        self._leaving = self._server.callers.on_vanish(name, gone)

    @property
    def missing(self) -> list[str]:
        """What people are to know of what this unit lacks, in a stable order."""
        return [self._missing[what] for what in sorted(self._missing)]

    def _tell(self, member: str, *arguments: object) -> None:
        if self._follower:
            self._server.emit(PATH, INTERFACE, member, *arguments, destination=self._follower)

    def _emit(self, member: str, *arguments: object) -> None:
        agent = self._connection.names.owner(AGENT)
        if agent is not None:
            self._server.emit(PATH, INTERFACE, member, *arguments, destination=agent)

    def renamed(self, name: str) -> None:
        """Tell what this host is called now."""
        self._emit("LocalDeviceNameChanged", name)

    # --- from the unit

    def lacks(self, what: str, sentence: str | None) -> None:
        """Tell what is missing and what that costs, or that it is there again."""
        if self._missing.get(what) == sentence:
            return
        if sentence is None:
            del self._missing[what]
        else:
            self._missing[what] = sentence
            _LOGGER.warning("%s", sentence)
        self._emit("DegradedChanged", self.missing)
        self._touch()

    def peer_changed(self, device: Device) -> None:
        """A device is new, or its row is another."""
        self._emit("PeerChanged", device.row)
        self._touch()

    def details_changed(self, device: Device) -> None:
        """What there is to say of a device beside its row is another."""
        self._emit("DetailsChanged", (device.device_id, *device.details))

    def peer_gone(self, device_id: str) -> None:
        """A device is in no list any more."""
        self._emit("PeerGone", device_id)
        self._touch()

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """People are to compare a code."""
        self._emit("PairingRequested", device_id, name, code)

    def net_disconnect(self, device: Device) -> None:
        """A peer that was there is not any more."""
        self._news.forget(device.device_id)
        self._emit("NetDisconnect", device.device_id, NET_DISCONNECTED)

    def refused(self, device: Device) -> None:
        """A peer is there, and gives no list."""
        self._news.forget(device.device_id)
        self._emit("NetDisconnect", device.device_id, NET_REFUSED)

    def list_changed(self, device: Device) -> None:
        """What is known of a peer's missions has changed."""
        self._news.list_changed(device.device_id)

    def snapshot_changed(self, device: Device, mission: int) -> None:
        """There is something new to see of one of its missions."""
        self._news.snapshot_changed(device.device_id, mission)

    def _list_changed(self, device_id: str) -> None:
        self._emit("MissionsChanged", device_id)

    def _snapshot_changed(self, device_id: str, mission: int) -> None:
        self._emit("SnapshotChanged", device_id, mission)

    def snapshots_wanted(self, *, on: bool) -> None:
        """Begin or stop to follow snapshots of missions of this host, as peers want."""
        self._feed.watch_snapshots(on=on)

    def link_up(self, device: Device, *, handovers: bool) -> None:
        """Tell of a new link to a device, on which nothing is under way.

        Told again when one link takes the place of another. `handovers`: whether the peer knows hand-overs.
        """
        self._tell("LinkUp", device.device_id, handovers)

    def link_down(self, device: Device) -> None:
        """There is none any more."""
        self._tell("LinkDown", device.device_id)

    def state_progress(self, device: Device, transfer: str, done: int, size: int, *, sending: bool) -> None:
        """So many bytes of a state are where they belong."""
        self._tell("StateProgress", device.device_id, transfer, sending, done, size)

    def state_complete(self, device: Device, transfer: str) -> None:
        """A state that was expected is there."""
        self._tell("StateComplete", device.device_id, transfer)

    def state_failed(self, device: Device, transfer: str, error: AgentError) -> None:
        """It can't be kept."""
        self._tell("StateFailed", device.device_id, transfer, error.text)

    def handover(self, device: Device, transfer: str, step: str, body: str, reply: Outcome) -> None:
        """Pass a hand-over message on; the next one of the peer follows after `reply`."""
        self._questions.start(self._deliver(device, transfer, step, body, reply))

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """A peer wants to know more about a mission of this host."""
        self._questions.start(self._answer(what, mission, reply))

    async def _deliver(self, device: Device, transfer: str, step: str, body: str, reply: Outcome) -> None:
        permissions = device.peer.permissions if device.peer is not None else ()
        try:
            await self._feed.hand_over(device.device_id, transfer, step, body, permissions)
        except AgentError as error:
            reply(error)
        else:
            reply(None)

    async def _answer(self, what: str, mission: int, reply: Reply) -> None:
        try:
            reply(await self._feed.ask(what, mission))
        except AgentError as error:
            reply(error)
