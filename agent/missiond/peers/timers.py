# SPDX-License-Identifier: Apache-2.0
"""The deadlines of peers, links and pairings, on one timer."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from missiond.common.deadlines import Deadlines
from missiond.host.clocks.boottime import Alarm, BootClock


class Timers:
    """At most one deadline a key, in ms since boot (suspend counts); needs a running loop."""

    def __init__(self, clock: BootClock) -> None:
        self.clock = clock
        self._alarm = Alarm(self._fired)
        self._due = Deadlines[Hashable]()
        self._callbacks: dict[Hashable, Callable[[], None]] = {}

    def at(self, key: Hashable, when: int | None, callback: Callable[[], None]) -> None:
        """Call back once at `when`, in place of an earlier deadline of the key; None is never."""
        if when is None:
            self.drop(key)
            return
        self._callbacks[key] = callback
        self._due.set(key, when)
        self._alarm.set(self._due.next())

    def after(self, key: Hashable, delay: int, callback: Callable[[], None]) -> None:
        """Call back once in `delay` ms."""
        self.at(key, self.clock.now() + delay, callback)

    def drop(self, key: Hashable) -> None:
        """Forget the key."""
        if self._callbacks.pop(key, None) is not None:
            self._due.drop(key)
            self._alarm.set(self._due.next())

    def close(self) -> None:
        """Never call back again."""
        self._due.clear()
        self._callbacks.clear()
        self._alarm.close()

    def _fired(self) -> None:
        for key in self._due.pop_due(self.clock.now()):
            # a callback may call off others, or set itself again for the next turn
            callback = self._callbacks.pop(key, None) if key not in self._due else None
            if callback is not None:
                callback()
        self._alarm.set(self._due.next())
