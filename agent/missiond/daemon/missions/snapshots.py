# SPDX-License-Identifier: Apache-2.0
"""The resource usage of missions, and the changes while somebody listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from missiond.common.background_work import BackgroundWork
from missiond.core.missions.missions import FROZEN, Mission, Sighting
from missiond.errors import MissionNotFound
from missiond.host.cgroups.usage import ResourceUsage

Measured = Callable[[Sighting], Awaitable[ResourceUsage | None]]
Wanted = Callable[[], Iterable[Mission]]
Changed = Callable[[Mission], None]
_US = 1_000_000
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`taken` is µs since the epoch, `cpu` per cent of one processor since the snapshot before.

    The first one has the average since the mission started.
    """

    taken: int
    cpu: float
    usage: ResourceUsage


class Snapshots:
    """Measurements of missions: on request, and at a pace while there is a reason."""

    def __init__(self, measured: Measured, interval_ms: int) -> None:
        """`measured` returns the usage of a mission, None after the end."""
        self._measured = measured
        self.interval_ms = interval_ms
        """Between two rounds; 0 has none."""
        self._last: WeakKeyDictionary[Mission, Snapshot] = WeakKeyDictionary()
        self._work = BackgroundWork(_LOGGER, "measuring missions")
        self._round: asyncio.TimerHandle | None = None
        self._watchers: dict[Changed, Wanted] = {}

    async def take(self, mission: Mission) -> Snapshot:
        """Measure a mission now; raises MissionNotFound right after the end."""
        used = await self._measured(mission.seen)
        if used is None:
            raise MissionNotFound(f"mission {mission.id} has ended")
        now = time.time_ns() // 1000
        last = self._last.get(mission)
        since, cpu_before = (last.taken, last.usage.cpu_us) if last else (mission.seen.started, 0)
        # the clock may have been set back, and processes that ended take their time with them
        cpu = max(0, used.cpu_us - cpu_before) / max(now - since, 1) * 100 if now > since else 0.0
        snapshot = self._last[mission] = Snapshot(now, cpu, used)
        return snapshot

    def state(self, mission: Mission, snapshot: Snapshot) -> str:
        """In one word."""
        return FROZEN if mission.seen.state == FROZEN else snapshot.usage.state

    def refresh(self, wanted: Wanted, changed: Changed) -> None:
        """Measure the `wanted` missions from now on, as long as there are any, and tell of `changed` ones.

        There may be several who want something, told apart by `changed`.
        """
        self._watchers[changed] = wanted
        if not len(self._work):  # else it goes on after this round
            self._schedule()

    def forgo(self, changed: Changed) -> None:
        """Measure for this one no more."""
        self._watchers.pop(changed, None)
        if not self._watchers:
            self.close()

    def close(self) -> None:
        """Measure no more."""
        self._watchers.clear()
        self._work.close()
        if self._round is not None:
            self._round.cancel()
            self._round = None

    def _go_round(self) -> None:
        self._round = None
        # whatever ends it, those who want more by then get it
        self._work.start(self._measure_all()).add_done_callback(lambda _: self._schedule())

    async def _measure_all(self) -> None:
        watchers, self._watchers = self._watchers, {}
        tell: dict[Mission, list[Changed]] = {}
        for changed, wanted in watchers.items():
            missions = list(wanted())
            for mission in missions:
                tell.setdefault(mission, []).append(changed)
            if missions:
                self._watchers[changed] = wanted
        for mission, told in tell.items():
            before = self._last.get(mission)
            try:
                now = await self.take(mission)
            except MissionNotFound:
                continue
            for changed in told if before is None or before.usage != now.usage else ():
                if changed in self._watchers:
                    changed(mission)

    def _schedule(self) -> None:
        if self._round is None and self._watchers and self.interval_ms:
            self._round = asyncio.get_running_loop().call_later(self.interval_ms / 1000, self._go_round)
