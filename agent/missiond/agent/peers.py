# SPDX-License-Identifier: Apache-2.0
"""The peer unit (missiond-peers.service), which knows other hosts; it may be off, fail, hang, and return."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from missiond.agent.degraded import Degraded
from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.bus.subscription import Subscription
from missiond.bus.values import unwrap
from missiond.core.locks import printable
from missiond.errors import AgentError, DistributedServiceFailed, TransactionFailed
from missiond.remote_errors import exception_for

_LOGGER = logging.getLogger(__name__)
NAME = "org.missiond.Peers1"
PATH = "/org/missiond/Peers1"
INTERFACE = "org.missiond.Peers1"

CONNECTED = "connected"
OFFLINE = "offline"

PATIENCE = 20.0
"""Seconds that it has for an answer, less than clients wait for ours."""
MAX_WAITING = 48
"""Calls of everybody together that may wait for it, so that nobody uses up what the bus allows us (128)."""
MAX_WAITING_OF_ONE = 16
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0

_SENTENCES = 500
"""Characters of what it says that it lacks, which anybody may read here."""

_OFF = "peers are off on this host; an administrator turns them on with `missionctl peers enable`"
_HANGS = "the peer unit does not answer; see `journalctl -u missiond-peers`"
_FAILS = "the peer unit failed ({}); see `journalctl -u missiond-peers`"


def off() -> AgentError:
    """Return what is said while nobody has turned it on."""
    return DistributedServiceFailed(_OFF)


def hangs() -> AgentError:
    """Return what is said while it does not answer."""
    return DistributedServiceFailed(_HANGS)


def translated(error: RemoteError, *, there: bool) -> AgentError:
    """Return what an error of the unit means, its own AgentErrors as they are; `there` is whether it runs."""
    ours = exception_for(error.name, error.text)
    if isinstance(ours, AgentError) and not error.name.startswith("org.freedesktop."):
        return ours
    return DistributedServiceFailed(_FAILS.format(error.name.rpartition(".")[2])) if there else off()


class Peer(NamedTuple):
    """A device as ListPeers has it: `(sssasas)`."""

    device_id: str
    name: str
    state: str
    addresses: list[str]
    permissions: list[str]


class PeerEvents(Protocol):
    """Who wants to know what the peer unit tells."""

    def turned(self) -> None:
        """The unit is there now, with what it knows, or it is not any more."""

    def peer_changed(self, before: Peer | None, now: Peer) -> None:
        """A device is new, or different."""

    def peer_gone(self, peer: Peer) -> None:
        """A device is not known any more."""

    def pairing_requested(self, device_id: str, name: str, code: str) -> None:
        """Somebody there wants to pair."""

    def missions_changed(self, device_id: str) -> None:
        """What is known of a device's missions is different."""

    def snapshot_changed(self, device_id: str, mission_id: int) -> None:
        """There is something new to see of one of its missions."""

    def disconnected(self, device_id: str, state: int) -> None:
        """A device that was connected is not any more."""


class PeerUnit:
    """Follows the unit's name; `events` is set before `start`."""

    def __init__(self, connection: Connection, degraded: Degraded) -> None:
        self._connection = connection
        self._degraded = degraded
        self.events: PeerEvents
        self.local_id = ""
        """Id of this host; empty while peers are off, as is the name."""
        self.local_name = ""
        self.peers: dict[str, Peer] = {}
        self.on = False
        """Whether the unit is there and has told what it knows."""
        self._missing: list[str] = []
        self._owner = ""
        self._watch: Subscription | None = None
        self._hearing: list[Subscription] = []
        self._loading: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._early: list[Callable[[], None]] = []
        """What it said before its list was here."""
        self._waiting: Counter[int] = Counter()

    async def start(self) -> None:
        """Begin to follow it. Never raises for its sake."""
        self._watch = self._connection.watch_name(NAME, lambda _, new: self._owned_by(new))
        try:
            owner = await self._connection.name_owner(NAME)
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the bus does not tell about %s: %s", NAME, error)
            return
        if owner is not None and owner != self._owner:
            self._owned_by(owner)

    def close(self) -> None:
        """Follow it no longer; nobody is told of an end."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._forget()

    @property
    def text(self) -> str:
        """In a few words."""
        if not self._owner:
            return "off"
        connected = sum(peer.state == CONNECTED for peer in self.peers.values())
        return f"{len(self.peers)}, {connected} connected" if self.on else "not ready"

    # --- asking it

    async def ready(self) -> None:
        """Return when it is there and has told what it knows; raises DistributedServiceFailed."""
        if not self._owner:
            raise DistributedServiceFailed(_OFF)
        if self._loading is not None:
            await asyncio.wait([self._loading], timeout=PATIENCE)
        if not self.on:
            raise DistributedServiceFailed(_HANGS if self._owner else _OFF)

    async def knows(self, device_id: str) -> bool:
        """Whether it lists this device; asks again before it says no. Raises DistributedServiceFailed."""
        await self.ready()
        if device_id in self.peers:
            return True
        [rows] = await self.call("ListPeers")
        return any(row[0] == device_id for row in rows)

    async def call(
        self, member: str, signature: str = "", body: Sequence[Any] = (), *, uid: int = 0
    ) -> list[Any]:
        """Call one of its methods for a user; its own AgentErrors come through as they are.

        Raises DistributedServiceFailed where it is off, fails or does not answer, and TransactionFailed
        where too many calls wait for it already.
        """
        await self.ready()
        if self._waiting.total() >= MAX_WAITING or (uid and self._waiting[uid] >= MAX_WAITING_OF_ONE):
            raise TransactionFailed("too many calls wait for the peer unit; let one end first")
        self._waiting[uid] += 1
        try:
            return await self._ask(INTERFACE, member, signature, body)
        except CallTimeout:
            raise DistributedServiceFailed(_HANGS) from None
        except RemoteError as error:
            raise translated(error, there=bool(self._owner)) from None
        finally:
            self._waiting[uid] -= 1
            if not self._waiting[uid]:
                del self._waiting[uid]

    async def _ask(
        self, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> list[Any]:
        return await self._connection.call(
            self._owner or NAME, PATH, interface, member, signature, body,
            timeout=PATIENCE, no_auto_start=True,
        )  # fmt: skip

    # --- following it

    def _owned_by(self, owner: str) -> None:
        was_on = self.on
        lost = [peer for peer in self.peers.values() if peer.state == CONNECTED] if was_on else []
        gone = list(self.peers.values())
        self._forget()
        self._degraded.set("peers", None)
        self._lacks([])
        for peer in lost:
            self.events.disconnected(peer.device_id, 0)
        for peer in gone:
            self.events.peer_gone(peer)
        if was_on or not owner:
            self.events.turned()
        self._owner = owner
        if owner:
            self._hear(owner)
            self._load()

    def _forget(self) -> None:
        for subscription in self._hearing:
            subscription.close()
        self._hearing.clear()
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._pause = FIRST_PAUSE
        self._owner = self.local_id = self.local_name = ""
        self.on = False
        self.peers.clear()
        self._early.clear()

    def _hear(self, owner: str) -> None:
        events = self.events
        for member, callback in (
            ("DegradedChanged", self._lacks),
            ("PeerChanged", lambda row: self._peer_changed(Peer(*row))),
            ("PeerGone", self._peer_gone),
            ("PairingRequested", events.pairing_requested),
            ("MissionsChanged", events.missions_changed),
            ("SnapshotChanged", events.snapshot_changed),
            ("NetDisconnect", self._disconnected),
        ):
            heard = self._in_time(callback)
            self._hearing.append(
                self._connection.receive(
                    sender=owner, interface=INTERFACE, member=member, path=PATH, callback=heard
                )
            )

    def _in_time(self, callback: Callable[..., None]) -> Callable[..., None]:
        """What comes before the list is dealt with after it."""

        def heard(*arguments: object) -> None:
            if self.on:
                callback(*arguments)
            elif self._loading is not None:
                self._early.append(lambda: callback(*arguments))

        return heard

    def _load(self) -> None:
        self._retry = None
        self._early.clear()
        self._loading = asyncio.get_running_loop().create_task(self._read())
        self._loading.add_done_callback(self._read_all)

    async def _read(self) -> None:
        [values] = await self._ask("org.freedesktop.DBus.Properties", "GetAll", "s", (INTERFACE,))
        [rows] = await self._ask(INTERFACE, "ListPeers")
        known = unwrap(values)
        self.local_id, self.local_name = known["LocalDeviceId"], known["LocalDeviceName"]
        self._missing = [str(sentence) for sentence in known.get("Degraded", [])]
        self.peers = {row[0]: Peer(*row) for row in rows}

    def _read_all(self, task: asyncio.Task[None]) -> None:
        if self._loading is not task or task.cancelled():
            return
        self._loading = None
        error = task.exception()
        if error is not None:
            sentence = _HANGS if isinstance(error, CallTimeout) else _FAILS.format(error)
            self._degraded.set("peers", sentence)
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._load)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return
        self._degraded.set("peers", None)
        self._lacks(self._missing)
        self.on = True
        self.events.turned()
        for peer in list(self.peers.values()):
            self.events.peer_changed(None, peer)
        early, self._early = self._early, []
        for deal in early:
            deal()

    def _lacks(self, sentences: list[str]) -> None:
        """The unit does without something, or has everything again."""
        self._degraded.set("what peers need", printable("; ".join(sentences), _SENTENCES) or None)

    def _peer_changed(self, peer: Peer) -> None:
        before = self.peers.get(peer.device_id)
        self.peers[peer.device_id] = peer
        if peer != before:
            self.events.peer_changed(before, peer)

    def _peer_gone(self, device_id: str) -> None:
        peer = self.peers.pop(device_id, None)
        if peer is not None:
            self.events.peer_gone(peer)

    def _disconnected(self, device_id: str, state: int) -> None:
        peer = self.peers.get(device_id)
        if peer is not None and peer.state == CONNECTED:
            # told once, also where the unit ends before it says how the device is now
            self.peers[device_id] = peer._replace(state=OFFLINE)
            self.events.peer_changed(peer, self.peers[device_id])
        self.events.disconnected(device_id, state)
