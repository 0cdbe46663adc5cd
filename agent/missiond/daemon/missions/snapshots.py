# SPDX-License-Identifier: Apache-2.0
"""The resource usage of missions, and the changes while somebody listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from missiond.core.missions.missions import FROZEN, Mission, Sighting
from missiond.errors import MissionNotFound
from missiond.host.cgroups import usage
from missiond.host.cgroups.usage import ResourceUsage
from missiond.host.processes.stat import Stat

Members = Callable[[Sighting], tuple[list[Stat], Path | None]]
Wanted = Callable[[], Iterable[Mission]]
Changed = Callable[[Mission], None]
_US = 1_000_000


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

    def __init__(self, members: Members, interval_ms: int) -> None:
        self._members = members
        self.interval_ms = interval_ms
        """Between two rounds; 0 has none."""
        self._last: dict[int, Snapshot] = {}
        self._round: asyncio.TimerHandle | None = None
        self._watchers: dict[Changed, Wanted] = {}

    def take(self, mission: Mission) -> Snapshot:
        """Measure a mission now; raises MissionNotFound right after the end."""
        stats, group = self._members(mission.seen)
        if not stats:
            raise MissionNotFound(f"mission {mission.id} has ended")
        used = usage.measure(stats, mission.seen.leader.pid, group)
        now = time.time_ns() // 1000
        last = self._last.get(mission.id)
        since, cpu_before = (last.taken, last.usage.cpu_us) if last else (mission.seen.started, 0)
        # the clock may have been set back, and processes that ended take their time with them
        cpu = max(0, used.cpu_us - cpu_before) / max(now - since, 1) * 100 if now > since else 0.0
        snapshot = self._last[mission.id] = Snapshot(now, cpu, used)
        return snapshot

    def state(self, mission: Mission, snapshot: Snapshot) -> str:
        """In one word."""
        return FROZEN if mission.seen.state == FROZEN else snapshot.usage.state

    def forget(self, mission: Mission) -> None:
        """Forget a mission after the end."""
        self._last.pop(mission.id, None)

    def refresh(self, wanted: Wanted, changed: Changed) -> None:
        """Measure the `wanted` missions from now on, as long as there are any, and tell of `changed` ones.

        There may be several who want something, told apart by `changed`.
        """
        self._watchers[changed] = wanted
        if self._round is None and self.interval_ms:
            self._round = asyncio.get_running_loop().call_later(self.interval_ms / 1000, self._go_round)

    def forgo(self, changed: Changed) -> None:
        """Measure for this one no more."""
        self._watchers.pop(changed, None)
        if not self._watchers:
            self.close()

    def close(self) -> None:
        """Measure no more."""
        self._watchers.clear()
        if self._round is not None:
            self._round.cancel()
            self._round = None

    def _go_round(self) -> None:
        self._round = None
        watchers, self._watchers = self._watchers, {}
        tell: dict[Mission, list[Changed]] = {}
        for changed, wanted in watchers.items():
            missions = list(wanted())
            for mission in missions:
                tell.setdefault(mission, []).append(changed)
            if missions:
                self.refresh(wanted, changed)
        for mission, told in tell.items():
            before = self._last.get(mission.id)
            try:
                now = self.take(mission)
            except MissionNotFound:
                continue
            if before is None or before.usage != now.usage:
                for changed in told:
                    changed(mission)
