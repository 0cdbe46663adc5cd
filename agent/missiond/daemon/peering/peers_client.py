# SPDX-License-Identifier: Apache-2.0
"""The agent's knowledge of other hosts, from a peer unit perhaps off, failing or hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.service_follower import LONGEST_PAUSE
from missiond.bus.variants import unwrap
from missiond.common.admission import Admission
from missiond.common.backoff import Backoff
from missiond.core.tasks.locks import printable
from missiond.daemon.peering.peer_follower import (
    INTERFACE,
    NAME,
    PATH,
    PATIENCE,
    STARTS_NOT,
    PeerFollower,
    failure,
    hangs,
    translated,
)
from missiond.degraded import Degraded
from missiond.errors import TransactionFailed
from missiond.host.systemd import peer_service
from missiond.host.systemd.peer_service import PeerServiceState

CONNECTED = "connected"
OFFLINE = "offline"
FIRST_LOOK = 2.0
"""Seconds for the unit to return before people are told of a failure."""

MAX_WAITING = 48
"""Waiting calls of everybody together, below the bus's limit (128)."""
MAX_WAITING_OF_ONE = 16
SHOWN = 16
"""Digits of the id shown for a host without a name."""
_SENTENCES = 500
"""Characters of what it says that it lacks, which anybody may read here."""


class KnownPeer(NamedTuple):
    """A row of ListPeers `(sssasas)`."""

    device_id: str
    name: str
    state: str
    addresses: list[str]
    permissions: list[str]


class PeerMissionDetails(NamedTuple):
    """The details of a device beside the row."""

    reason: str = ""
    """The reason for no connection or no missions; empty for neither."""
    synchronised: bool = False
    """Whether the device's list is kept in step here."""


class PeerObserver:
    """Base of the receivers of the peer unit's news; subclasses override the methods of interest."""

    def turned(self) -> None:
        """Note the arrival of the unit, read in full, or the absence."""

    def renamed(self) -> None:
        """Take note of a new name of this host."""

    def peer_changed(self, before: KnownPeer | None, now: KnownPeer) -> None:
        """Take up a new or changed device."""

    def details_changed(self, device_id: str) -> None:
        """Take up changed details of a device."""

    def peer_gone(self, peer: KnownPeer) -> None:
        """Forget a device."""

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """Tell people of a device with a request to pair."""

    def missions_changed(self, device_id: str) -> None:
        """Take up a change in a device's missions."""

    def snapshot_changed(self, device_id: str, mission_id: int) -> None:
        """Take up a new snapshot of a device's mission."""

    def disconnected(self, device_id: str, state: int) -> None:
        """Note the end of a connection (state 0), or of the list of a connected device (1)."""


class PeersClient:
    """Follows the peer unit, and passes calls on to the unit.

    `person_of` gives the uid that stands for a person, who may have thousands (subuid(5)).
    """

    def __init__(
        self, connection: Connection, degraded: Degraded, person_of: Callable[[int], int] = lambda uid: uid
    ) -> None:
        self._connection = connection
        self._degraded = degraded
        self._observers: list[PeerObserver] = []
        self._person_of = person_of
        self.local_id = ""
        """Id of this host; empty while peers are off, as is the name."""
        self.local_name = ""
        self.peers: dict[str, KnownPeer] = {}
        self.details: dict[str, PeerMissionDetails] = {}
        """Of those that there is something to say of."""
        self._missing: list[str] = []
        self._follower = PeerFollower(
            connection,
            self,
            {
                "DegradedChanged": self._lacks,
                "LocalDeviceNameChanged": self._renamed,
                "PeerChanged": lambda row: self._peer_changed(KnownPeer(*row)),
                "DetailsChanged": lambda row: self._details_changed(*row),
                "PeerGone": self._peer_gone,
                "PairingRequested": lambda *news: self._tell(lambda each: each.pairing_requested(*news)),
                "MissionsChanged": lambda *news: self._tell(lambda each: each.missions_changed(*news)),
                "SnapshotChanged": lambda *news: self._tell(lambda each: each.snapshot_changed(*news)),
                "NetDisconnect": self._disconnected,
            },
        )
        self._waiting = Admission(
            lambda: TransactionFailed("too many calls wait for the peer unit; let one end first"),
            most=MAX_WAITING,
            each=MAX_WAITING_OF_ONE,
        )
        self._looking: asyncio.Task[None] | None = None
        self._failed = False
        """Whether the unit is wanted and does not come."""

    def subscribe(self, *observers: PeerObserver) -> None:
        """Give news to more observers from now on, after the earlier ones."""
        self._observers += observers

    async def start(self) -> None:
        """Begin to follow the unit; never raises for the unit's sake."""
        await self._follower.start()
        if not self._follower.owner:
            self._look()

    def close(self) -> None:
        """Stop to follow the unit; nobody is told of an end."""
        self._follower.close()
        self._look_no_more()
        self._forget()

    @property
    def on(self) -> bool:
        """Whether the unit is there and read in full."""
        return self._follower.ready

    @property
    def text(self) -> str:
        """In a few words."""
        if not self._follower.owner:
            return "failed" if self._failed else "off"
        connected = sum(peer.state == CONNECTED for peer in self.peers.values())
        return f"{len(self.peers)}, {connected} connected" if self.on else "not ready"

    def name_of(self, device_id: str) -> str:
        """Return the name of a device; empty where none is known."""
        peer = self.peers.get(device_id)
        return "" if peer is None else peer.name

    def shown(self, device_id: str) -> str:
        """Return a word for a device in sentences: the name, or the first digits of the id."""
        return self.name_of(device_id) or device_id[:SHOWN]

    # --- asking it

    async def ready(self) -> None:
        """Return once the unit is read; raises DistributedServiceFailed."""
        await self._follower.reach()

    async def knows(self, device_id: str) -> bool:
        """Return whether the unit lists a device, asked again before a no; raises AgentError."""
        await self.ready()
        if device_id in self.peers:
            return True
        [rows] = await self.call("ListPeers")
        return any(row[0] == device_id for row in rows)

    async def call(
        self, member: str, signature: str = "", body: Sequence[Any] = (), *, uid: int = 0
    ) -> list[Any]:
        """Call a method of the unit for a user; AgentErrors of the unit come through unchanged.

        Raises DistributedServiceFailed where it is off, fails or does not answer, and TransactionFailed
        where too many calls wait for it already.
        """
        await self.ready()
        with self._waiting.place(self._person_of(uid) or None):
            try:
                return await self._ask(INTERFACE, member, signature, body)
            except CallTimeout:
                raise hangs() from None
            except RemoteError as error:
                raise translated(error, there=bool(self._follower.owner)) from None

    async def _ask(
        self, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> list[Any]:
        return await self._connection.call(
            self._follower.owner or NAME, PATH, interface, member, signature, body,
            timeout=PATIENCE, no_auto_start=True,
        )  # fmt: skip

    # --- the ServiceReader

    async def read(self) -> None:
        """Read id and name of this host, and the list of devices."""
        [values] = await self._ask("org.freedesktop.DBus.Properties", "GetAll", "s", (INTERFACE,))
        [rows] = await self._ask(INTERFACE, "ListPeers")
        try:
            [details] = await self._ask(INTERFACE, "ListDetails")
        except RemoteError:  # a unit of before an upgrade
            details = []
        known = unwrap(values)
        self.local_id, self.local_name = known["LocalDeviceId"], known["LocalDeviceName"]
        self._missing = [str(sentence) for sentence in known.get("Degraded", [])]
        self.peers = {row[0]: KnownPeer(*row) for row in rows}
        self.details = {device: PeerMissionDetails(*more) for device, *more in details}

    def told(self) -> None:
        """Tell of everything read."""
        self._degraded.set("peers", None)
        self._lacks(self._missing)
        self._tell(lambda each: each.turned())
        for peer in list(self.peers.values()):
            for observer in self._observers:
                observer.peer_changed(None, peer)

    def failed(self, error: Exception) -> None:
        """Tell people about the failure."""
        self._degraded.set("peers", failure(error))

    def left(self, *, was_ready: bool, owner: str) -> None:
        """Drop all devices, connected ones first."""
        gone = list(self.peers.values())
        self._forget()
        self._look_no_more()
        self._degraded.set("peers", None)
        self._lacks([])
        for peer in gone:
            if was_ready and peer.state == CONNECTED:
                for observer in self._observers:
                    observer.disconnected(peer.device_id, 0)
        for peer in gone:
            for observer in self._observers:
                observer.peer_gone(peer)
        if was_ready or not owner:
            self._tell(lambda each: each.turned())
        if not owner:
            self._look()

    def _look(self) -> None:
        """Say so where it is wanted and does not come; look again as long as that is so."""
        self._looking = asyncio.get_running_loop().create_task(self._watch_failing())

    def _look_no_more(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        self._failed = False

    async def _watch_failing(self) -> None:
        pauses = Backoff(FIRST_LOOK, LONGEST_PAUSE)
        state = PeerServiceState.STARTING
        while state is not PeerServiceState.OFF:
            await asyncio.sleep(pauses.next())
            state = await peer_service.look(self._connection)
            self._failed = state is PeerServiceState.FAILED
            self._degraded.set("peers", STARTS_NOT if self._failed else None)

    def _tell(self, news: Callable[[PeerObserver], None]) -> None:
        for observer in self._observers:
            news(observer)

    def _forget(self) -> None:
        self.local_id = self.local_name = ""
        self.peers.clear()
        self.details.clear()

    def _lacks(self, sentences: list[str]) -> None:
        """Take up the sentences about things missing to the unit."""
        self._degraded.set("what peers need", printable("; ".join(sentences), _SENTENCES) or None)

    def _renamed(self, name: str) -> None:
        if name != self.local_name:
            self.local_name = name
            self._tell(lambda each: each.renamed())

    def _peer_changed(self, peer: KnownPeer) -> None:
        before = self.peers.get(peer.device_id)
        self.peers[peer.device_id] = peer
        if peer != before:
            self._tell(lambda each: each.peer_changed(before, peer))

    def _peer_gone(self, device_id: str) -> None:
        peer = self.peers.pop(device_id, None)
        self.details.pop(device_id, None)
        if peer is not None:
            self._tell(lambda each: each.peer_gone(peer))

    def _details_changed(self, device_id: str, reason: str, synchronised: bool) -> None:
        self.details[device_id] = PeerMissionDetails(reason, synchronised)
        self._tell(lambda each: each.details_changed(device_id))

    def _disconnected(self, device_id: str, state: int) -> None:
        peer = self.peers.get(device_id)
        if state == 0 and peer is not None and peer.state == CONNECTED:
            # told once, also where the unit ends before it says how the device is now
            self.peers[device_id] = peer._replace(state=OFFLINE)
            self._tell(lambda each: each.peer_changed(peer, self.peers[device_id]))
        self._tell(lambda each: each.disconnected(device_id, state))
