# SPDX-License-Identifier: Apache-2.0
"""Many deadlines, one timer: what is due for peers, links and pairings."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable

from missiond.host.clocks.boottime import Alarm, BootClock

_SPARE = 64
"""Outdated entries that may lie in the heap."""


class Timers:
    """At most one deadline a key, in ms since boot (suspend counts); needs a running loop."""

    def __init__(self, clock: BootClock) -> None:
        self.clock = clock
        self._alarm = Alarm(self._fired)
        self._due: dict[Hashable, tuple[int, int, Callable[[], None]]] = {}
        self._heap: list[tuple[int, int, Hashable]] = []
        self._count = itertools.count()

    def at(self, key: Hashable, when: int | None, callback: Callable[[], None]) -> None:
        """Call back once at `when`, in place of an earlier wish for that key; None is never."""
        if when is None:
            self.drop(key)
            return
        known = self._due.get(key)
        if known is not None and known[0] == when:
            self._due[key] = (when, known[1], callback)
            return
        number = next(self._count)
        self._due[key] = (when, number, callback)
        heapq.heappush(self._heap, (when, number, key))
        if len(self._heap) > 4 * len(self._due) + _SPARE:
            self._heap = [entry for entry in self._heap if self._live(entry)]
            heapq.heapify(self._heap)
        self._set()

    def after(self, key: Hashable, delay: int, callback: Callable[[], None]) -> None:
        """Call back once in `delay` ms."""
        self.at(key, self.clock.now() + delay, callback)

    def drop(self, key: Hashable) -> None:
        """Forget the key."""
        if self._due.pop(key, None) is not None:
            self._set()

    def close(self) -> None:
        """Never call back again."""
        self._due.clear()
        self._heap.clear()
        self._alarm.close()

    def _set(self) -> None:
        heap = self._heap
        while heap and not self._live(heap[0]):
            heapq.heappop(heap)
        self._alarm.set(heap[0][0] if heap else None)

    def _live(self, entry: tuple[int, int, Hashable]) -> bool:
        known = self._due.get(entry[2])
        return known is not None and known[1] == entry[1]

    def _fired(self) -> None:
        now = self.clock.now()
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap))
        for entry in due:  # a callback may call off others, or set itself again for the next turn
            if self._live(entry):
                _, _, callback = self._due.pop(entry[2])
                callback()
        self._set()
