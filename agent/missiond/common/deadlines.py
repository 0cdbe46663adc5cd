# SPDX-License-Identifier: Apache-2.0
"""The next moment at which something is due, for many things."""

from __future__ import annotations

import heapq


class Deadlines:
    """At most one deadline (ms) a key; setting, dropping and asking cost O(log n)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._when: dict[int, int] = {}

    def set(self, key: int, when: int) -> None:
        """Put the key's deadline at `when`, in place of an earlier one."""
        if self._when.get(key) != when:
            self._when[key] = when
            heapq.heappush(self._heap, (when, key))

    def drop(self, key: int) -> None:
        """Forget the key."""
        self._when.pop(key, None)

    def next(self) -> int | None:
        """The earliest deadline, None without any."""
        while self._heap:
            when, key = self._heap[0]
            if self._when.get(key) == when:
                return when
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: int) -> list[int]:
        """Keys whose deadline is `now` or earlier, earliest first; they are forgotten."""
        due: list[int] = []
        while (when := self.next()) is not None and when <= now:
            _, key = heapq.heappop(self._heap)
            del self._when[key]
            due.append(key)
        return due
