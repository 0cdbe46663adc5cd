# SPDX-License-Identifier: Apache-2.0
"""Following the peer unit (missiond-peers.service), which may be off, fail, hang, and return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from missiond.bus.connection import CallTimeout, Connection, RemoteError
from missiond.common.subscription import Subscription
from missiond.errors import AgentError, DistributedServiceFailed, from_name
from missiond.host.systemd import peer_service
from missiond.host.systemd.peer_service import PeerServiceState

_LOGGER = logging.getLogger(__name__)
NAME = "org.missiond.Peers1"
PATH = "/org/missiond/Peers1"
INTERFACE = "org.missiond.Peers1"

PATIENCE = 20.0
"""Seconds that it has for an answer, less than clients wait for ours."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
"""Seconds before it is asked again, after one failure and after many."""

_OFF = "peers are off on this host; an administrator turns them on with `missionctl peers enable`"
_STARTS = "the peer unit is starting; ask again in a moment, or see `systemctl status missiond-peers`"
STARTS_NOT = "the peer unit failed: see `systemctl status missiond-peers`"
_HANGS = "the peer unit does not answer; see `journalctl -u missiond-peers`"
_FAILS = "the peer unit failed ({}); see `journalctl -u missiond-peers`"


def off() -> AgentError:
    """Return what is said while nobody has turned it on."""
    return DistributedServiceFailed(_OFF)


async def absent(connection: Connection) -> AgentError:
    """Return what is said while it is not on the bus: it may be off, or wanted and not come."""
    state = await peer_service.look(connection)
    sentences = {
        PeerServiceState.OFF: _OFF,
        PeerServiceState.STARTING: _STARTS,
        PeerServiceState.FAILED: STARTS_NOT,
    }
    return DistributedServiceFailed(sentences[state])


def hangs() -> AgentError:
    """Return what is said while it does not answer."""
    return DistributedServiceFailed(_HANGS)


def translated(error: RemoteError, *, there: bool) -> AgentError:
    """Return what an error of the unit means, its own AgentErrors as they are; `there` is whether it runs."""
    ours = from_name(error.name, error.text)
    if ours is not None:
        return ours
    return DistributedServiceFailed(_FAILS.format(error.name.rpartition(".")[2])) if there else off()


class Reader(Protocol):
    """Who follows it. Called from the loop; only `read` may raise, RemoteError and CallTimeout."""

    @property
    def signals(self) -> Mapping[str, Callable[..., None]]:
        """What to call with the arguments of which of its signals."""

    async def read(self) -> None:
        """Ask it for all that it knows."""

    def told(self) -> None:
        """All was read; signals that came meanwhile follow."""

    def failed(self, sentence: str) -> None:
        """Reading failed, for the reason that people are given; it is tried again."""

    def left(self, *, was_ready: bool, owner: str) -> None:
        """It is not there any more; `owner` is its successor, or empty."""


class PeerFollower:
    """Reads all once the unit is there, and hears its signals from then on, in order and none twice."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self._connection = connection
        self._reader = reader
        self.owner = ""
        """Unique name of the unit; empty while it is off."""
        self.ready = False
        """Whether it is there and has told what it knows."""
        self._watch: Subscription | None = None
        self._hearing: list[Subscription] = []
        self._reading: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._early: list[Callable[[], None]] = []
        """What it said before it had told all."""

    async def start(self) -> None:
        """Begin to follow it. Never raises for its sake."""
        self._watch = self._connection.watch_name(NAME, lambda _, new: self._owned_by(new))
        try:
            owner = await self._connection.name_owner(NAME)
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the bus does not tell about %s: %s", NAME, error)
            return
        if owner is not None and owner != self.owner:
            self._owned_by(owner)

    def close(self) -> None:
        """Follow it no longer; the reader is not told."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._leave()

    async def until_ready(self) -> None:
        """Return when it is there and has told what it knows; raises DistributedServiceFailed."""
        if not self.owner:
            raise await absent(self._connection)
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=PATIENCE)
        if not self.ready:
            raise hangs() if self.owner else await absent(self._connection)

    def _owned_by(self, owner: str) -> None:
        was_ready = self.ready
        self._leave()
        self._reader.left(was_ready=was_ready, owner=owner)
        self.owner = owner
        if owner:
            self._hear(owner)
            self._read()

    def _leave(self) -> None:
        for subscription in self._hearing:
            subscription.close()
        self._hearing.clear()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._pause = FIRST_PAUSE
        self.owner, self.ready = "", False
        self._early.clear()

    def _hear(self, owner: str) -> None:
        for member, callback in self._reader.signals.items():
            heard = self._in_time(callback)
            self._hearing.append(
                self._connection.receive(
                    sender=owner, interface=INTERFACE, member=member, path=PATH, callback=heard
                )
            )

    def _in_time(self, callback: Callable[..., None]) -> Callable[..., None]:
        """What comes before all was read is dealt with after it."""

        def heard(*arguments: object) -> None:
            if self.ready:
                callback(*arguments)
            elif self._reading is not None:
                self._early.append(lambda: callback(*arguments))

        return heard

    def _read(self) -> None:
        self._retry = None
        self._early.clear()
        self._reading = asyncio.get_running_loop().create_task(self._reader.read())
        self._reading.add_done_callback(self._read_all)

    def _read_all(self, task: asyncio.Task[None]) -> None:
        if self._reading is not task or task.cancelled():
            return
        self._reading = None
        error = task.exception()
        if error is not None:
            self._reader.failed(_HANGS if isinstance(error, CallTimeout) else _FAILS.format(error))
            self._retry = asyncio.get_running_loop().call_later(self._pause, self._read)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return
        self.ready = True
        self._reader.told()
        early, self._early = self._early, []
        for deal in early:
            deal()
