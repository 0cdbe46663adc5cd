# SPDX-License-Identifier: Apache-2.0
"""When a cgroup that is frozen again and again is thawed."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 250, 8_000
"""Ms from one thaw to the next, after AT_ONCE of them and after many; twice as long each time."""
AT_ONCE = 16
"""So many need not wait: that is no loop yet."""
CALM = 30_000
"""Ms without a thaw after which it is thawed at once again."""
_MANY = 1024


@dataclass(slots=True)
class _Past:
    last: int
    pause: int = 0
    count: int = 1


class ThawPauses:
    """Times in ms: who is frozen once is thawed at once, and who is frozen in a loop every few seconds."""

    def __init__(self) -> None:
        self._past: dict[str, _Past] = {}

    def due(self, cgroup: str, now: int) -> int:
        """When it may be thawed, `now` or later."""
        past = self._past.get(cgroup)
        if past is None or now - past.last >= CALM:
            return now
        return max(now, past.last + past.pause)

    def thawed(self, cgroup: str, now: int) -> bool:
        """Take note; whether this is the first time in a while."""
        past = self._past.get(cgroup)
        if past is None or now - past.last >= CALM:
            if len(self._past) >= _MANY:
                self._past = {key: each for key, each in self._past.items() if now - each.last < CALM}
            self._past[cgroup] = _Past(now)
            return True
        past.last, past.count = now, past.count + 1
        if past.count >= AT_ONCE:
            past.pause = min(max(FIRST, 2 * past.pause), LONGEST)
        return False
