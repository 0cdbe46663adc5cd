# SPDX-License-Identifier: Apache-2.0
"""Calls in turns of users: however many one user makes, another's is among the next to be served."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from missiond.bus.wire.message import Incoming

SLICE = 0.005
"""Seconds of serving in one turn of the loop."""
FIRST_TURN, A_TURN = 16, 32
"""Calls of the first turn, and the most of later turns; tasks do most of the work later."""
MOST, MOST_BYTES = 8192, 8 * 1024 * 1024
"""Most waiting calls, and bytes of arguments; beyond, the longest queue has calls refused."""

_Waiting = deque[tuple[Incoming, list[int]]]
"""Calls and their descriptors."""


class _Person:
    """Calls that wait of one person, by sender; the sender whose turn is next comes first."""

    __slots__ = ("count", "senders")

    def __init__(self) -> None:
        self.senders: OrderedDict[str, _Waiting] = OrderedDict()
        self.count = 0


class FairQueue:
    """Turns of persons, and of the senders of each; calls of a sender stay in order.

    `person_of` tells from a sender whose it is, None where that is not known yet; those who are not known
    count as one person, and wait unless `may_ask` (who they are). `serve` and `refuse` must not raise. While
    nothing waits, calls are served at once. Nothing is served while `congested`: answers would wait.
    """

    def __init__(
        self,
        person_of: Callable[[str], int | None],
        may_ask: Callable[[], bool],
        serve: Callable[[Incoming], None],
        refuse: Callable[[Incoming], None],
        congested: Callable[[], bool],
    ) -> None:
        self._person_of = person_of
        self._may_ask = may_ask
        self._serve = serve
        self._refuse = refuse
        self._congested = congested
        self._persons: OrderedDict[int | None, _Person] = OrderedDict()
        """None for the unknown; whose turn is next comes first."""
        self._persons_of: dict[str, int | None] = {}
        """By sender with calls that wait."""
        self._count = self._bytes = 0
        self._spent, self._served, self._limit = 0.0, 0, FIRST_TURN
        self._handle: asyncio.Handle | None = None

    def __len__(self) -> int:
        """Count the waiting calls."""
        return self._count

    def put(self, call: Incoming) -> None:
        """Serve a call, now or in a later turn; until then the descriptors stay open."""
        sender = call.sender or ""
        person = self._persons_of[sender] if sender in self._persons_of else self._person_of(sender)
        if not self._count and self._may_go_on() and self._is_open(person):
            self._do(call)
            return
        waiting = self._persons.setdefault(person, _Person())
        waiting.senders.setdefault(sender, deque()).append((call, call.take_fds()))
        waiting.count += 1
        self._persons_of[sender] = person
        self._count += 1
        self._bytes += call.body_length
        while self._count > MOST or self._bytes > MOST_BYTES:
            self._refuse_one()
        self._schedule()

    def wake(self) -> None:
        """Look again whether somebody can be served."""
        if self._count:
            self._schedule()

    def flush(self) -> None:
        """Serve all waiting calls."""
        while self._persons:
            self._next(next(iter(self._persons)))

    def _may_go_on(self) -> bool:
        return self._spent < SLICE and self._served < self._limit and not self._congested()

    def _is_open(self, person: int | None) -> bool:
        return person is not None or self._may_ask()

    def _schedule(self) -> None:
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Serve some calls: few at first, and one after answers that were too long for the bus."""
        self._handle = None
        if self._congested():
            self._limit = max(1, self._served // 4)
            return  # it is told when that is over
        self._limit = min(2 * self._limit, A_TURN) if self._count else FIRST_TURN
        self._spent, self._served = 0.0, 0
        while self._may_go_on():
            ready = next(([person] for person in self._persons if self._is_open(person)), [])
            if not ready:
                return  # nothing waits, or it is told
            self._next(ready[0])
        if self._count:
            self._schedule()

    def _next(self, person: int | None) -> None:
        """Serve the next call of a person, whose turn then is after all others."""
        senders = self._persons[person].senders
        sender = next(iter(senders))
        call, fds = self._take(person, sender, deque.popleft)
        if sender in senders:
            senders.move_to_end(sender)
        if person in self._persons:
            self._persons.move_to_end(person)
        call.fds = fds
        try:
            self._do(call)
        finally:
            call.close_fds()

    def _refuse_one(self) -> None:
        """Refuse the last call of who has the most."""
        person, waiting = max(self._persons.items(), key=lambda each: each[1].count)
        sender = max(waiting.senders, key=lambda name: len(waiting.senders[name]))
        call, fds = self._take(person, sender, deque.pop)
        call.fds = fds
        call.close_fds()
        self._refuse(call)

    def _take(
        self, person: int | None, sender: str, pop: Callable[[_Waiting], tuple[Incoming, list[int]]]
    ) -> tuple[Incoming, list[int]]:
        waiting = self._persons[person]
        calls = waiting.senders[sender]
        call, fds = pop(calls)
        waiting.count -= 1
        if not calls:
            del waiting.senders[sender], self._persons_of[sender]
        if not waiting.count:
            del self._persons[person]
        self._count -= 1
        self._bytes -= call.body_length
        return call, fds

    def _do(self, call: Incoming) -> None:
        begun = time.monotonic()
        self._serve(call)
        self._spent += time.monotonic() - begun
        self._served += 1
        self._schedule()  # behind what the call has begun; it begins another slice
