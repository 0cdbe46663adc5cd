# SPDX-License-Identifier: Apache-2.0
"""Events of tasks: the agent's signals, handed to the tasks of this client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from missiond.bus import standard
from missiond.bus_names import BACKGROUND_TASK_MANAGER, CONTINUOUS_TASK, MANAGER_PATH, TRANSIENT_TASK
from missiond.client._bus import AgentBus
from missiond.client._types import Ended, Event, Expiring, GivenUp, Resumed, Suspended, SuspendReason
from missiond.errors import Error, NotFound

CONTINUOUS, TRANSIENT = "continuous", "transient"
_KEPT = 64
"""Events that wait for a reader; of more, the oldest are dropped."""
_CANCELLED = 1
"""Reason of ContinuousTaskCancel that is the user's own."""

Key = tuple[str, int]
"""Kind and id of a task."""


class Feed:
    """Events of one task for one reader, and the end for any number of readers."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._waiting: set[asyncio.Future[None]] = set()
        self._ended: Ended | None = None
        self._error: Error | None = None
        self.remaining: Callable[[float], None] = lambda _: None
        """Called with the seconds that an Expiring tells."""

    def tell(self, event: Event) -> None:
        """Take an event in; none comes behind the end."""
        if self._ended is not None:
            return
        if isinstance(event, Ended):
            self._ended = event
        elif isinstance(event, Expiring):
            self.remaining(event.remaining)
        self._events.append(event)
        self._wake()

    def fail(self, error: Error) -> None:
        """Let nothing more come."""
        if self._ended is None:
            self._error = error
            self._wake()

    @property
    def ended(self) -> Ended | None:
        """End of the task; None before."""
        return self._ended

    async def next(self) -> Event | None:
        """Return the next event, None behind the end; raises Unreachable where nothing can come."""
        while not self._events:
            if self._ended is not None:
                return None
            await self._sleep()
        return self._events.popleft()

    async def wait(self) -> Ended:
        """Return the end; raises as `next`."""
        while self._ended is None:
            await self._sleep()
        return self._ended

    async def _sleep(self) -> None:
        if self._error is not None:
            raise self._error
        woken = asyncio.get_running_loop().create_future()
        self._waiting.add(woken)
        try:
            await woken
        finally:
            self._waiting.discard(woken)

    def _wake(self) -> None:
        for woken in self._waiting:
            if not woken.done():
                woken.set_result(None)


class TaskEvents:
    """Hands signals about tasks to the tasks of this client; subscribes once, before any is asked for."""

    def __init__(self, bus: AgentBus, *, listens: bool = True) -> None:
        self._bus = bus
        self._listens = listens
        self._subscribing: asyncio.Future[None] | None = None
        self._feeds: dict[Key, Feed] = {}
        self._early: list[tuple[Key, Event]] = []
        self._asking = 0

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Keep events of tasks with unknown ids during the block."""
        if not self._listens:
            yield
            return
        if self._subscribing is None:
            self._subscribing = asyncio.ensure_future(self._subscribe())
        try:
            await asyncio.shield(self._subscribing)
        except Error:
            self._subscribing = None
            raise
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._early.clear()

    def adopt(self, key: Key) -> Feed:
        """Return the events of a task, including events from before the id was known."""
        feed = Feed()
        if key[1]:
            self._feeds[key] = feed
        for whose, event in self._early:
            if whose == key:
                feed.tell(event)
        return feed

    def forget(self, key: Key, cause: str) -> None:
        """End the events of a task ended by this client."""
        self._tell(key, Ended(cause))

    def fail(self, error: Error) -> None:
        """Let nothing more come: the connection has ended."""
        for feed in self._feeds.values():
            feed.fail(error)
        self._feeds.clear()

    async def _subscribe(self) -> None:
        members: dict[str, Callable[..., None]] = {
            "SuspendDelayExpiring": lambda number, ms: self._tell((TRANSIENT, number), Expiring(ms / 1000)),
            "SuspendDelayEnded": lambda number, cause: self._tell((TRANSIENT, number), Ended(cause)),
            "ContinuousTaskSuspend": self._suspended,
            "ContinuousTaskActive": lambda number: self._tell((CONTINUOUS, number), Resumed()),
            "ContinuousTaskFailed": lambda number, text: self._tell((CONTINUOUS, number), GivenUp(text)),
            "ContinuousTaskCancel": self._cancelled,
        }
        await self._bus.subscribe(BACKGROUND_TASK_MANAGER, members)
        await self._bus.subscribe(
            standard.OBJECT_MANAGER,
            {"InterfacesRemoved": self._removed},
            arg0path=f"{MANAGER_PATH}/{CONTINUOUS}/",  # not of every mission of the host
        )
        self._bus.on_return(lambda: self._bus.begin(self._look_again()))
        self._bus.on_lost(self.fail)

    def _suspended(self, number: int, reason: int, message: str) -> None:
        known = reason in set(SuspendReason)
        self._tell((CONTINUOUS, number), Suspended(SuspendReason(reason) if known else reason, message))

    def _cancelled(self, number: int, reason: int) -> None:
        self._tell((CONTINUOUS, number), Ended("cancelled" if reason == _CANCELLED else "system"))

    def _removed(self, path: str, _interfaces: list[str]) -> None:
        kind, _, number = path.removeprefix(MANAGER_PATH + "/").partition("/")
        if kind == CONTINUOUS:  # the end of a delay has a signal, with the cause
            self._tell((kind, int(number)), Ended("stopped"))

    def _tell(self, key: Key, event: Event) -> None:
        feed = self._feeds.get(key)
        if feed is not None:
            feed.tell(event)
            if feed.ended is not None:
                del self._feeds[key]
        elif self._asking:
            self._early.append((key, event))

    async def _look_again(self) -> None:
        """See which tasks the agent still knows after it was restarted."""
        for kind, number in list(self._feeds):
            interface = CONTINUOUS_TASK if kind == CONTINUOUS else TRANSIENT_TASK
            try:
                await self._bus.properties(interface, f"{MANAGER_PATH}/{kind}/{number}")
            except NotFound:
                self._tell((kind, number), Ended("lost"))
