# SPDX-License-Identifier: Apache-2.0
"""The watch on the first seconds of a unit started for a hand-over, and the clearing away of failed ones.

A program that can't work where it was started ends a moment after: a library, a licence or a terminal is not
there. Until it has lived for a little, the host that had it before keeps what it takes to start it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from missiond.common.background_work import BackgroundWork
from missiond.core.launch.unit import transfer_of
from missiond.core.missions.missions import Mission, MissionTable
from missiond.daemon.missions.registry import MissionObserver
from missiond.errors import DistributedServiceFailed
from missiond.host.systemd.launcher import Ending, Launcher
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered

_LOGGER = logging.getLogger(__name__)
_MS = 1000


class Started(NamedTuple):
    """A unit started here for a hand-over; `at` is ms of CLOCK_BOOTTIME, 0 where unknown."""

    uid: int
    unit: str
    at: int
    pid: int = 0
    """Main process of the unit."""


def now() -> int:
    """Return the time of Started (ms), sleep included."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _MS)


class Settling(MissionObserver):
    """The watch on new units for `seconds`, 0 for no wait (a MissionObserver)."""

    def __init__(self, table: MissionTable, launcher: Launcher, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._table = table
        self._launcher = launcher
        self._news: dict[str, asyncio.Event] = {}
        self._clearing = BackgroundWork(_LOGGER, "clearing a unit away")

    async def wait(self, started: Started) -> None:
        """Return after a life of `seconds`, or a registration with the agent.

        Raises DistributedServiceFailed for an earlier end. A unit that ended while the agent was away for
        longer may as well have done its work, and counts as settled.
        """
        left = self._seconds() - (now() - started.at) / _MS
        if left <= 0:
            return
        news = self._news.setdefault(started.unit, asyncio.Event())
        try:
            async with asyncio.timeout(left):
                while (mission := self._find(started.unit)) is not None:
                    if mission.registration is not None and mission.registration.connection:
                        return
                    news.clear()
                    await news.wait()
        except TimeoutError:
            return
        finally:
            self._news.pop(started.unit, None)
        await self._see(started)

    def removed(self, mission: Mission) -> None:
        """React to the end of a mission (MissionObserver)."""
        unit = mission.seen.unit
        if not self._tell(unit) and mission.uid and transfer_of(unit) is not None:
            self._clearing.start(self._clear(Started(mission.uid, unit, 0)))

    def added(self, mission: Mission) -> None:
        """React to the return of a mission (MissionObserver)."""
        self._tell(mission.seen.unit)

    def changed(self, mission: Mission, *_properties: str) -> None:
        """React to a change, perhaps a registration (MissionObserver)."""
        self._tell(mission.seen.unit)

    def clear_left(self, units: Iterable[Started]) -> None:
        """Clear away units ended in the agent's absence."""
        for started in units:
            if started.unit not in self._news and self._find(started.unit) is None:
                self._clearing.start(self._clear(started))

    def close(self) -> None:
        """Wait for nothing any more."""
        self._clearing.close()

    async def _see(self, started: Started) -> None:
        """Ask the manager about the end of the unit; raises DistributedServiceFailed."""
        try:
            ending = await self._launcher.ended(started.uid, started.unit)
        except (ManagersMissing, NotAnswered) as error:
            _LOGGER.info("how %s ended is not known: %s", started.unit, error)
            ending = Ending(runs=False, how="")
        if ending.runs:
            return
        lived = min(max(0.0, (now() - started.at) / _MS), self._seconds())
        how = f", {ending.how}" if ending.how else ""
        raise DistributedServiceFailed(
            f"its program ended {lived:.1f} s after it was started{how}; what it said there: "
            f"journalctl _SYSTEMD_USER_UNIT={started.unit}"
        )

    async def _clear(self, started: Started) -> None:
        try:
            await self._launcher.ended(started.uid, started.unit)
        except (ManagersMissing, NotAnswered) as error:
            _LOGGER.debug("%s is not cleared away: %s", started.unit, error)

    def _find(self, unit: str) -> Mission | None:
        return next((mission for mission in self._table if mission.seen.unit == unit), None)

    def _tell(self, unit: str) -> bool:
        news = self._news.get(unit)
        if news is not None:
            news.set()
        return news is not None
