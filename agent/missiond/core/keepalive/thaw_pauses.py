# SPDX-License-Identifier: Apache-2.0
"""The pauses between thaws of a cgroup frozen again and again."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LONGEST = 250, 8_000
"""Ms from one thaw to the next, after AT_ONCE of these and after many; twice as long each time."""
AT_ONCE = 16
"""Thaws without a pause, too few for a loop."""
CALM = 30_000
"""Ms without a thaw until the next one has no pause."""
_MANY = 1024


@dataclass(slots=True)
class _Past:
    last: int
    pause: int = 0
    count: int = 1


class ThawPauses:
    """Times of thaws in ms: at once for a single freeze, every few seconds for freezes in a loop."""

    def __init__(self) -> None:
        self._past: dict[str, _Past] = {}

    def due(self, cgroup: str, now: int) -> int:
        """Return the time of the next thaw, `now` or later."""
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
