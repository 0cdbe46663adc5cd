# SPDX-License-Identifier: Apache-2.0
"""Calls that wait for their turn: however many one user makes, another's is among the next to be served."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from missiond.bus.wire.message import Incoming

SLICE = 0.005
"""Seconds of serving in one turn of the loop."""
A_TURN = 32
"""Calls of one turn: what most of them do comes in later ones."""
MOST, MOST_BYTES = 8192, 8 * 1024 * 1024
"""Calls, and bytes of arguments, that may wait; beyond that the oldest are served as they come."""
UNKNOWN = 16
"""Callers that the bus is asked about at a time before further ones have to wait."""


class Known(Protocol):
    """As much of a Caller as is needed here."""

    @property
    def uid(self) -> int:
        """Whose process it is."""
        ...


class Identities(Protocol):
    """Who is who, as far as that was asked."""

    @property
    def asking(self) -> int:
        """How many callers the bus is being asked about."""
        ...

    def cached(self, name: str) -> Known | None:
        """Who that is, if it is known."""
        ...


class FairQueue:
    """One queue for each person, and one for all who are not known yet; those of a sender stay in order.

    `serve` must not raise. While nothing waits, calls are served at once.
    """

    def __init__(self, identities: Identities, serve: Callable[[Incoming], None]) -> None:
        self.person_of: Callable[[int], int] = lambda uid: uid
        """Tells from a uid who it is that has it: somebody may have thousands (subuid(5))."""
        self._identities = identities
        self._serve = serve
        self._queues: OrderedDict[int | None, deque[tuple[Incoming, list[int]]]] = OrderedDict()
        """By person, None for the unknown; whose turn is next comes first."""
        self._places: dict[str, tuple[int | None, int]] = {}
        """By sender: in which queue its calls are, and how many."""
        self._count = self._bytes = 0
        self._spent, self._served = 0.0, 0
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """How many calls wait."""
        return self._count

    def put(self, call: Incoming) -> None:
        """Serve a call, now or in a later turn; its descriptors stay open for as long."""
        sender = call.sender or ""
        queue = self._queue_of(sender)
        if not self._count and self._may_go_on() and self._open(queue):
            self._do(call)
            return
        self._queues.setdefault(queue, deque()).append((call, call.take_fds()))
        self._places[sender] = queue, self._places.get(sender, (queue, 0))[1] + 1
        self._count += 1
        self._bytes += call.body_length
        while self._count > MOST or self._bytes > MOST_BYTES:
            self._next(next(iter(self._queues)))
        self._schedule()

    def wake(self) -> None:
        """There may be room for somebody unknown again."""
        if self._count:
            self._schedule()

    def flush(self) -> None:
        """Serve all that wait."""
        while self._queues:
            self._next(next(iter(self._queues)))

    def _queue_of(self, sender: str) -> int | None:
        place = self._places.get(sender)
        if place is not None:
            return place[0]
        known = self._identities.cached(sender)
        return None if known is None else self.person_of(known.uid)

    def _may_go_on(self) -> bool:
        return self._spent < SLICE and self._served < A_TURN

    def _open(self, queue: int | None) -> bool:
        return queue is not None or self._identities.asking < UNKNOWN

    def _schedule(self) -> None:
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._handle = None
        self._spent, self._served = 0.0, 0
        while self._may_go_on():
            ready = next(([queue] for queue in self._queues if self._open(queue)), [])
            if not ready:
                return  # nothing waits, or it will be woken
            self._next(ready[0])
        if self._count:
            self._schedule()

    def _next(self, queue: int | None) -> None:
        """Serve the first of a queue, whose turn then is after all others."""
        calls = self._queues[queue]
        call, fds = calls.popleft()
        call.fds = fds
        if calls:
            self._queues.move_to_end(queue)
        else:
            del self._queues[queue]
        sender = call.sender or ""
        _, left = self._places[sender]
        if left > 1:
            self._places[sender] = queue, left - 1
        else:
            del self._places[sender]
        self._count -= 1
        self._bytes -= call.body_length
        try:
            self._do(call)
        finally:
            call.close_fds()

    def _do(self, call: Incoming) -> None:
        self._schedule()  # which begins another slice
        begun = time.monotonic()
        self._serve(call)
        self._spent += time.monotonic() - begun
        self._served += 1
