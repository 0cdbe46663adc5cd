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
    """Tells the agent, as owner of a name, about peers, and passes questions of peers on to `feed`.

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
        """Learn the agent's unique name, now and later."""
        self._connection.watch_name(AGENT, lambda _old, _new: None)
        await self._connection.names.settle(AGENT)

    def close(self) -> None:
        """Stop to tell, and to answer questions."""
        self._news.close()
        self._questions.close()

    def follow_handovers(self, name: str, left: Callable[[], None]) -> None:
        """Tell this connection of hand-overs, and call `left` after the end of the connection."""
        if self._leaving is not None:
            self._leaving.close()
        self._follower = name

        def gone() -> None:
            self._follower, self._leaving = "", None
            left()

        self._leaving = self._server.callers.on_vanish(name, gone)

    @property
    def missing(self) -> list[str]:
        """Sentences for people about the things missing to this unit, in a stable order."""
        return [self._missing[what] for what in sorted(self._missing)]

    def _tell(self, member: str, *arguments: object) -> None:
        if self._follower:
            self._server.emit(PATH, INTERFACE, member, *arguments, destination=self._follower)

    def _emit(self, member: str, *arguments: object) -> None:
        agent = self._connection.names.owner(AGENT)
        if agent is not None:
            self._server.emit(PATH, INTERFACE, member, *arguments, destination=agent)

    def renamed(self, name: str) -> None:
        """Tell the name of this host."""
        self._emit("LocalDeviceNameChanged", name)

    # --- from the unit

    def lacks(self, what: str, sentence: str | None) -> None:
        """Tell of something missing and the cost; None once nothing is missing any more."""
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
        """Tell of a new or changed row of a device."""
        self._emit("PeerChanged", device.row)
        self._touch()

    def details_changed(self, device: Device) -> None:
        """Tell of changed details of a device."""
        self._emit("DetailsChanged", (device.device_id, *device.details))

    def peer_gone(self, device_id: str) -> None:
        """Tell of a device gone from all lists."""
        self._emit("PeerGone", device_id)
        self._touch()

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """Tell of a code for people to compare."""
        self._emit("PairingRequested", device_id, name, code)

    def net_disconnect(self, device: Device) -> None:
        """Tell of the disconnection of a peer."""
        self._news.forget(device.device_id)
        self._emit("NetDisconnect", device.device_id, NET_DISCONNECTED)

    def refused(self, device: Device) -> None:
        """Tell of a connected peer without a list for this host."""
        self._news.forget(device.device_id)
        self._emit("NetDisconnect", device.device_id, NET_REFUSED)

    def list_changed(self, device: Device) -> None:
        """Tell of a changed list of a peer's missions."""
        self._news.list_changed(device.device_id)

    def snapshot_changed(self, device: Device, mission: int) -> None:
        """Tell of a new snapshot of a mission of a peer."""
        self._news.snapshot_changed(device.device_id, mission)

    def _list_changed(self, device_id: str) -> None:
        self._emit("MissionsChanged", device_id)

    def _snapshot_changed(self, device_id: str, mission: int) -> None:
        self._emit("SnapshotChanged", device_id, mission)

    def snapshots_wanted(self, *, on: bool) -> None:
        """Begin or stop to follow snapshots of missions of this host, as peers want."""
        self._feed.watch_snapshots(on=on)

    def link_up(self, device: Device, *, handovers: bool) -> None:
        """Tell of a new link to a device, with nothing under way.

        Told again when one link takes the place of another. `handovers`: whether the peer knows hand-overs.
        """
        self._tell("LinkUp", device.device_id, handovers)

    def link_down(self, device: Device) -> None:
        """Tell of the end of the last link to a device."""
        self._tell("LinkDown", device.device_id)

    def state_progress(self, device: Device, transfer: str, done: int, size: int, *, sending: bool) -> None:
        """Tell of the bytes of a state kept at the receiving side."""
        self._tell("StateProgress", device.device_id, transfer, sending, done, size)

    def state_complete(self, device: Device, transfer: str) -> None:
        """Tell of a state kept in full."""
        self._tell("StateComplete", device.device_id, transfer)

    def state_failed(self, device: Device, transfer: str, error: AgentError) -> None:
        """Tell of a state with an error on the way in."""
        self._tell("StateFailed", device.device_id, transfer, error.text)

    def handover(self, device: Device, transfer: str, step: str, body: str, reply: Outcome) -> None:
        """Pass a hand-over message on; the next one of the peer follows after `reply`."""
        self._questions.start(self._deliver(device, transfer, step, body, reply))

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """Pass a question of a peer about a mission of this host on to the agent."""
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
