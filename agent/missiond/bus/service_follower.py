# SPDX-License-Identifier: Apache-2.0
"""Following a service on the bus through absence, failure, silence and return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from missiond.bus.connection import Connection
from missiond.bus.pending_calls import CallTimeout, RemoteError
from missiond.common.backoff import Backoff
from missiond.common.subscription import Subscription

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds before a service is read again, after one failure and after many."""

_LOGGER = logging.getLogger(__name__)


class ServiceReader(Protocol):
    """Reader of a followed service. Called from the loop; only `read` may raise."""

    async def read(self) -> None:
        """Ask the service for everything wanted, or follow the service until failure."""

    def told(self) -> None:
        """Take note of the return of `read`; signals received meanwhile follow."""

    def failed(self, error: Exception) -> None:
        """Take note of an error of `read`, to be called again after a pause."""

    def left(self, *, was_ready: bool, owner: str) -> None:
        """Take note of the end of the service; `owner` is the successor, or empty."""


class ServiceFollower:
    """Follower of one service: read at each appearance, then heard, in order and nothing twice.

        self._follower = ServiceFollower(connection, NAME, PATH, INTERFACE, reader, signals)
        await self._follower.start()
        if await self._follower.until_ready(20.0): ...  # it is there, and `read` has returned

    Signals are those that the service sends to this connection alone. `pauses` may be reset by a reader
    whose `read` goes on for as long as the service does.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        path: str,
        interface: str,
        reader: ServiceReader,
        signals: Mapping[str, Callable[..., None]],
        pauses: tuple[float, float] = (FIRST_PAUSE, LONGEST_PAUSE),
    ) -> None:
        self._connection = connection
        self._name = name
        self._path = path
        self._interface = interface
        self._reader = reader
        self._signals = signals
        self.owner = ""
        """Unique name of the service; empty while it is off."""
        self.ready = False
        """Whether the service is there and `read` has returned."""
        self.pauses = Backoff(*pauses)
        self._watch: Subscription | None = None
        self._hearing: list[Subscription] = []
        self._reading: asyncio.Task[None] | None = None
        self._early: list[Callable[[], None]] = []
        """Signals that came before `read` returned."""

    async def start(self) -> None:
        """Begin to follow; never raises for the service's sake. `owner` is empty without a service."""
        self._watch = self._connection.watch_name(self._name, lambda _, new: self._owned_by(new))
        try:
            owner = await self._connection.name_owner(self._name)
        except (RemoteError, CallTimeout) as error:
            _LOGGER.warning("the bus does not tell about %s: %s", self._name, error)
            return
        if owner is not None and owner != self.owner:
            self._owned_by(owner)

    def close(self) -> None:
        """Follow the service no longer; the reader is not told."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._leave()

    async def until_ready(self, patience: float) -> bool:
        """Wait for `read` to return, at most `patience` seconds, and return whether all was read."""
        if self._reading is not None:
            await asyncio.wait([self._reading], timeout=patience)
        return self.ready

    def _owned_by(self, owner: str) -> None:
        was_ready = self.ready
        self._leave()
        self._reader.left(was_ready=was_ready, owner=owner)
        self.owner = owner
        if owner:
            for member, callback in self._signals.items():
                heard = partial(self._heard, callback)
                self._hearing.append(
                    self._connection.receive(
                        sender=owner,
                        interface=self._interface,
                        member=member,
                        path=self._path,
                        callback=heard,
                    )
                )
            self._read()

    def _leave(self) -> None:
        for subscription in self._hearing:
            subscription.close()
        self._hearing.clear()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        self.pauses.cancel()
        self.pauses.reset()
        self.owner, self.ready = "", False
        self._early.clear()

    def _heard(self, callback: Callable[..., None], *arguments: object) -> None:
        """Deal with a signal, after `read` where that is under way."""
        if self.ready:
            callback(*arguments)
        elif self._reading is not None:
            self._early.append(partial(callback, *arguments))

    def _read(self) -> None:
        self._early.clear()
        self._reading = asyncio.get_running_loop().create_task(self._reader.read())
        self._reading.add_done_callback(self._has_read)

    def _has_read(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, RemoteError | CallTimeout):
            _LOGGER.error("following %s failed", self._name, exc_info=error)
        if self._reading is not task or task.cancelled():
            return
        self._reading = None
        if isinstance(error, Exception):
            self._reader.failed(error)
            self.pauses.later(self._read)
            return
        self.ready = True
        self.pauses.reset()
        self._reader.told()
        early, self._early = self._early, []
        for deal in early:
            deal()
