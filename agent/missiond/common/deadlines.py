# SPDX-License-Identifier: Apache-2.0
"""Deadlines of many things, and the next one."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
_SPARE = 64
"""Outdated entries that may lie in the heap."""


class Deadlines(Generic[Key]):
    """At most one deadline (ms) a key; setting, dropping and asking cost O(log n).

    due = Deadlines[int]()
    due.set(task, when); timer.set(due.next())
    for task in due.pop_due(now): ...
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Key]] = []
        self._when: dict[Key, tuple[int, int]] = {}
        self._numbers = itertools.count()

    def __contains__(self, key: Key) -> bool:
        """Tell whether the key has a deadline."""
        return key in self._when

    def set(self, key: Key, when: int) -> None:
        """Put the key's deadline at `when`, in place of an earlier one."""
        known = self._when.get(key)
        if known is not None and known[0] == when:
            return
        number = next(self._numbers)
        self._when[key] = when, number
        heapq.heappush(self._heap, (when, number, key))
        if len(self._heap) > 4 * len(self._when) + _SPARE:
            self._heap = [entry for entry in self._heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def drop(self, key: Key) -> None:
        """Forget the key."""
        self._when.pop(key, None)

    def clear(self) -> None:
        """Forget all keys."""
        self._when.clear()
        self._heap.clear()

    def next(self) -> int | None:
        """Return the earliest deadline, None without any."""
        while self._heap:
            if self._is_live(self._heap[0]):
                return self._heap[0][0]
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: int) -> list[Key]:
        """Return the keys with deadlines up to `now`, earliest first, and forget these keys."""
        due: list[Key] = []
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._when[key]
            due.append(key)
        return due

    def _is_live(self, entry: tuple[int, int, Key]) -> bool:
        known = self._when.get(entry[2])
        return known is not None and known[1] == entry[1]
