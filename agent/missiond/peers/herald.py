# SPDX-License-Identifier: Apache-2.0
"""Tells the agent, and nobody else, what happens with peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from missiond.bus.connection import Connection
from missiond.bus.server import Server
from missiond.core.sync.events import Reply
from missiond.errors import AgentError, DistributedServiceFailed
from missiond.peers.device import Device
from missiond.peers.service import INTERFACE, PATH
from missiond.peers.sharing import AGENT, Sharing

NET_DISCONNECTED = 0


class Herald:
    """Signals to whoever owns the agent's name; without one they are dropped, for a new one asks anyway."""

    def __init__(self, server: Server, connection: Connection, touch: Callable[[], None]) -> None:
        self._server = server
        self._connection = connection
        self._touch = touch
        self._tasks: set[asyncio.Task[None]] = set()
        self.sharing: Sharing | None = None
        """Whom peers' questions are passed to."""

    async def start(self) -> None:
        """Learn who the agent is, now and later."""
        self._connection.watch_name(AGENT, lambda _old, _new: None)
        await self._connection.names.settle(AGENT)

    def close(self) -> None:
        """Answer no more questions."""
        for task in self._tasks:
            task.cancel()

    def _emit(self, member: str, *arguments: object) -> None:
        agent = self._connection.names.owner(AGENT)
        if agent is not None:
            self._server.emit(PATH, INTERFACE, member, *arguments, destination=agent)

    # --- UnitEvents

    def peer_changed(self, device: Device) -> None:
        """A device is new, or its row is another."""
        self._emit("PeerChanged", device.row)
        self._touch()

    def peer_gone(self, device_id: str) -> None:
        """A device is in no list any more."""
        self._emit("PeerGone", device_id)
        self._touch()

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """People are to compare a code."""
        self._emit("PairingRequested", device_id, name, code)

    def net_disconnect(self, device: Device) -> None:
        """A peer that was there is not any more."""
        self._emit("NetDisconnect", device.device_id, NET_DISCONNECTED)

    def list_changed(self, device: Device) -> None:
        """What is known of a peer's missions has changed."""
        self._emit("MissionsChanged", device.device_id)

    def snapshot_changed(self, device: Device, mission: int) -> None:
        """There is something new to see of one of its missions."""
        self._emit("SnapshotChanged", device.device_id, mission)

    def snapshots_wanted(self, *, on: bool) -> None:
        """Peers want to hear of snapshots, or none does any more."""
        if self.sharing is not None:
            self.sharing.watch_snapshots(on=on)

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """A peer wants to know more about a mission of this host."""
        task = asyncio.get_running_loop().create_task(self._answer(what, mission, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, what: str, mission: int, reply: Reply) -> None:
        if self.sharing is None:
            reply(DistributedServiceFailed("this host is starting; ask again"))
            return
        try:
            reply(await self.sharing.ask(what, mission))
        except AgentError as error:
            reply(error)
