# SPDX-License-Identifier: Apache-2.0
"""The agent as the peer unit sees it: missions that are shared, and somebody who hears of peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from missiond.bus.variants import variant
from missiond.bus.wire.message import Incoming
from missiond.core.missions.missions import Row
from standins.services.neighbour import Neighbour

PATH = "/org/missiond/Agent1"
PEERS = ("org.missiond.Peers1", "/org/missiond/Peers1", "org.missiond.Peers1")
SIGNALS = (
    "DegradedChanged", "PeerChanged", "PeerGone", "PairingRequested", "MissionsChanged", "SnapshotChanged",
    "NetDisconnect", "LocalDeviceNameChanged",
)  # fmt: skip
ROWS = "a(usssuusbbit)"


class SharingAgent(Neighbour):
    """Owns the agent's name, and calls the peer unit as the agent does."""

    name = "org.missiond.Agent1"
    interface = "org.missiond.Agent1.Sharing"
    methods: ClassVar[dict[str, str]] = {
        "subscribe": "Subscribe",
        "info": "Info",
        "snapshot": "Snapshot",
        "watch_snapshots": "WatchSnapshots",
        "hand_over": "HandOver",
    }

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.rows: dict[int, Row] = {}
        self.subscriber: str | None = None
        self.heard: list[tuple[Any, ...]] = []
        """Signals of the peer unit: member and arguments."""
        self._news = asyncio.Event()

    async def appear(self) -> None:
        """Connect, own the name, and hear of peers."""
        await super().appear()
        for member in SIGNALS:
            await self.connection.add_signal(
                sender=PEERS[0], interface=PEERS[2], member=member, callback=self._listener(member)
            )

    def _listener(self, member: str) -> Callable[..., None]:
        def heard(*arguments: Any) -> None:
            self.heard.append((member, *arguments))
            self._news.set()

        return heard

    async def until_heard(self, *signal: Any, times: int = 1) -> None:
        """Wait for a signal with exactly these arguments, so many times in all."""
        while self.heard.count(signal) < times:
            self._news.clear()
            await self._news.wait()

    async def until_connected(self, device_id: str) -> None:
        """Wait for a peer's row to say so."""
        while not any(
            each[0] == "PeerChanged" and each[1][:3:2] == [device_id, "connected"] for each in self.heard
        ):
            self._news.clear()
            await self._news.wait()

    async def until_missions(self, device_id: str, rows: Sequence[Row]) -> None:
        """Wait until the unit lists exactly these."""
        while True:
            self._news.clear()
            if await self.call("Missions", "su", device_id, 1000) == [list(each) for each in rows]:
                return
            await self._news.wait()

    async def call(self, member: str, signature: str = "", *arguments: Any) -> Any:
        """Call the peer unit; its one result, if it has any."""
        results = await self.connection.call(*PEERS, member, signature, arguments)
        return results[0] if results else None

    async def device_id(self) -> str:
        """Of this host."""
        return str(await self.read("LocalDeviceId"))

    async def read(self, name: str) -> Any:
        """A property of the peer unit."""
        [found] = await self.connection.call(
            *PEERS[:2], "org.freedesktop.DBus.Properties", "Get", "ss", (PEERS[2], name)
        )
        return found.value

    def change(self, rows: Sequence[Row] = (), removed: Sequence[int] = ()) -> None:
        """Let missions begin, change and end."""
        self.rows.update((each[0], each) for each in rows)
        for mission in removed:
            del self.rows[mission]
        if self.subscriber is not None:
            self.connection.emit(
                PATH, self.interface, "Changed", f"{ROWS}au", (rows, removed), destination=self.subscriber
            )

    def new_snapshot(self, mission: int) -> None:
        """Let there be something new to see of one."""
        self.connection.emit(
            PATH, self.interface, "SnapshotChanged", "u", (mission,), destination=self.subscriber
        )

    # --- what the peer unit asks

    async def subscribe(self, call: Incoming) -> None:
        self.subscriber = call.sender
        self.connection.reply(call, ROWS, (list(self.rows.values()),))

    async def info(self, call: Incoming, mission: int) -> None:
        if mission not in self.rows:
            self.connection.reply_error(
                call, "org.missiond.Agent1.Error.MissionNotFound", "16300502: there is no such mission"
            )
            return
        details = {
            "mission-id": variant("u", mission),
            "argv": variant("as", ["editor", "file"]),
            "want": variant("a{sv}", {"cwd": variant("s", "/home")}),
            "odd": variant("(us)", (1, "does not travel")),
        }
        self.connection.reply(call, "a{sv}", (details,))

    async def snapshot(self, call: Incoming, mission: int) -> None:
        self.connection.reply(
            call, "a{sv}", ({"cpu": variant("d", mission / 2), "memory": variant("t", 2**40)},)
        )

    async def hand_over(self, call: Incoming, *_letter: object) -> None:
        self.connection.reply(call)

    async def watch_snapshots(self, call: Incoming, _on: bool) -> None:
        self.connection.reply(call)
