# SPDX-License-Identifier: Apache-2.0
"""Has service managers thaw their units: one after the other of each manager, with rests between."""

from __future__ import annotations

import asyncio
import logging
import time

from missiond.host.systemd.unit_managers import ManagedUnit, ManagersMissing, NotAnswered, UnitManagers

_LOGGER = logging.getLogger(__name__)
SHARE, LONGEST = 4, 2.0
"""After each unit a manager rests so many times as long as that took, and so many seconds at most: each costs
a process, and whose units these are may freeze them in a loop."""
PAUSE = 0.2
"""Seconds after which what is still being frozen is asked for again,"""
TRIES = 5
"""so many times."""


class Books:
    """What managers have down as frozen; without `managers`, nobody is asked."""

    def __init__(self, managers: UnitManagers | None) -> None:
        self._managers = managers
        self._waiting: dict[int | None, dict[str, None]] = {}
        self._work: dict[int | None, asyncio.Task[None]] = {}

    def thaw(self, unit: ManagedUnit) -> None:
        """Have the unit thawed by its manager, soon."""
        if self._managers is None:
            return
        self._waiting.setdefault(unit.manager, {})[unit.name] = None
        if unit.manager not in self._work:
            task = asyncio.get_running_loop().create_task(self._run(self._managers, unit.manager))
            self._work[unit.manager] = task
            task.add_done_callback(lambda done: self._done(unit.manager, done))

    def close(self) -> None:
        """Stop."""
        self._waiting.clear()
        for work in self._work.values():
            work.cancel()

    def _done(self, manager: int | None, task: asyncio.Task[None]) -> None:
        del self._work[manager]
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.error("asking a service manager failed", exc_info=task.exception())

    async def _run(self, managers: UnitManagers, manager: int | None) -> None:
        waiting = self._waiting[manager]
        while waiting:
            name = next(iter(waiting))
            del waiting[name]
            begun = time.monotonic()
            await self._ask(managers, ManagedUnit(manager, name))
            await asyncio.sleep(min(LONGEST, SHARE * (time.monotonic() - begun)))
        del self._waiting[manager]

    async def _ask(self, managers: UnitManagers, unit: ManagedUnit) -> None:
        for left in reversed(range(TRIES)):
            try:
                await managers.thaw(unit)
            except (ManagersMissing, NotAnswered) as error:
                if left and str(error) == "EAGAIN":
                    await asyncio.sleep(PAUSE)
                    continue
                _LOGGER.info("%s may count as frozen still: %s", unit.name, error)
            return
