# SPDX-License-Identifier: Apache-2.0
"""Owners of continuous tasks are not left frozen (cgroup.freeze in cgroups(7)).

Below the slices of people the helper writes to the cgroup, which takes milliseconds. Where it is that of a
unit, its manager is told as well, since systemd 257 stops nothing that it takes for frozen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from missiond.common.background_work import BackgroundWork
from missiond.common.log_limiter import LogLimiter
from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.core.keepalive.thaw_pauses import ThawPauses
from missiond.daemon.helper_client import HelperClient
from missiond.daemon.keepalive.shortfalls import FREEZE, Shortfalls
from missiond.host.cgroups.freezer import FreezeWatch, frozen_at
from missiond.host.systemd.unit_managers import (
    ManagedUnit,
    ManagersMissing,
    NotAnswered,
    UnitManagers,
    service_of,
    unit_at,
)

_LOGGER = logging.getLogger(__name__)
_PEOPLE = "user.slice/"
_SENTENCE = "continuous tasks may be left frozen: their control group can't be {} ({})"
_GONE = {"ENOENT", "ESRCH", "ENODEV", "EAGAIN"}
"""The cgroup is another one by now, or is gone."""
SHARE, LONGEST = 4, 2.0
"""Rest of a manager after each unit: times as long as the unit took, and seconds at most.

Each request costs a process, and users may freeze their units in a loop.
"""
PAUSE = 0.2
"""Seconds until another request where a unit is still being frozen,"""
TRIES = 5
"""so many times."""


class FreezerGuard:
    """A guard against freezing: thaws the cgroups of wards, and tells when a group being ended is empty."""

    def __init__(
        self,
        privileges: HelperClient,
        shortfalls: Shortfalls,
        managers: UnitManagers | None,
        emptied: Callable[[str], None],
    ) -> None:
        self._privileges = privileges
        self._shortfalls = shortfalls
        self._units = UnitThaw(managers)
        self._watch = FreezeWatch(self._frozen, self._empty)
        self._emptied = emptied
        self._followed: dict[ProtectedProcess, str] = {}
        self._ending: set[str] = set()
        self._work = BackgroundWork(_LOGGER, "thawing")
        self._pauses = ThawPauses()
        self._under_way: set[str] = set()
        self._later: dict[str, asyncio.TimerHandle] = {}
        self._said = LogLimiter(_LOGGER, 20)

    def follow(self, ward: ProtectedProcess, cgroup: str) -> None:
        """Thaw this cgroup of the ward whenever something freezes the cgroup."""
        if self._followed.get(ward) == cgroup or not _is_thawed(cgroup):
            return
        was_idle = not self._followed
        self.unfollow(ward)
        self._followed[ward] = cgroup
        try:
            self._watch.watch(cgroup)
        except OSError as error:
            _LOGGER.debug("can't watch %s: %s", cgroup, error)
            self._shortfalls.note(ward, FREEZE, _SENTENCE.format("watched", error.strerror))
            del self._followed[ward]
            return
        self._shortfalls.note(ward, FREEZE, None)
        if was_idle:
            # Starting it takes longer than a frozen process should wait.
            self._privileges.stay(wanted=True)
            self._work.start(self._privileges.ready())

    def unfollow(self, ward: ProtectedProcess) -> None:
        """Stop thawing the cgroup of a ward."""
        cgroup = self._followed.pop(ward, None)
        if cgroup is not None:
            self._watch.unwatch(cgroup)

    def helped(self, ward: ProtectedProcess, *, ready: bool) -> None:
        """Note whether a helper is there to thaw the ward."""
        self._shortfalls.lacks(ward, FREEZE, missing=not ready and ward in self._followed)

    def await_empty(self, cgroup: str) -> None:
        """Tell when the cgroup is empty."""
        if cgroup not in self._ending:
            try:
                self._watch.watch(cgroup)
            except OSError:
                asyncio.get_running_loop().call_soon(self._emptied, cgroup)
                return
            self._ending.add(cgroup)

    def rest(self) -> None:
        """Have the helper only while something may be frozen."""
        self._privileges.stay(wanted=bool(self._followed))

    def close(self) -> None:
        """Stop."""
        self._work.close()
        for later in self._later.values():
            later.cancel()
        self._units.close()
        self._watch.close()

    def _frozen(self, cgroup: str) -> None:
        """Thaw it now, or when it is its turn again: somebody may freeze it in a loop."""
        if cgroup in self._under_way or cgroup in self._later:
            return
        loop = asyncio.get_running_loop()
        now = int(loop.time() * 1000)
        due = self._pauses.due(cgroup, now)
        if due > now:
            self._later[cgroup] = loop.call_later((due - now) / 1000, self._due, cgroup)
        else:
            self._begin(cgroup)

    def _due(self, cgroup: str) -> None:
        del self._later[cgroup]
        self._begin(cgroup)

    def _begin(self, cgroup: str) -> None:
        if cgroup in self._followed.values() and frozen_at(cgroup):
            self._under_way.add(cgroup)
            self._work.start(self._thaw_in_turn(cgroup))

    async def _thaw_in_turn(self, cgroup: str) -> None:
        now = int(asyncio.get_running_loop().time() * 1000)
        try:
            done = await self._thaw(cgroup, first=self._pauses.thawed(cgroup, now))
        finally:
            self._under_way.discard(cgroup)
        if done and frozen_at(cgroup):
            self._frozen(cgroup)  # meanwhile

    async def _thaw(self, cgroup: str, *, first: bool) -> bool:
        """Whether it was thawed; `first` is whether that is worth a word."""
        frozen = frozen_at(cgroup)
        direct = [each for each in frozen if each.path.startswith(_PEOPLE)]
        answers = await self._privileges.ask(direct)
        for each in frozen:
            if (unit := unit_at(each.path)) is not None:
                self._units.thaw(unit)
        if not direct:
            return False
        refused = ", ".join(sorted(set(filter(None, answers.known)) - _GONE))
        if answers.complete:
            said = f"could not thaw ({refused})" if refused else "thawed"
            if first:
                self._said.info("%s %s, where a continuous task runs", said, cgroup)
        for ward in [each for each, followed in self._followed.items() if followed == cgroup]:
            if refused:
                self._shortfalls.note(ward, FREEZE, _SENTENCE.format("thawed", refused))
            elif answers.complete:
                self._shortfalls.note(ward, FREEZE, None)
            else:
                self.helped(ward, ready=False)
        return answers.complete and not refused

    def _empty(self, cgroup: str) -> None:
        if cgroup in self._ending:
            self._ending.discard(cgroup)
            self._watch.unwatch(cgroup)
            self._emptied(cgroup)


class UnitThaw:
    """Requests to service managers to thaw units; without `managers` there are none."""

    def __init__(self, managers: UnitManagers | None) -> None:
        self._managers = managers
        self._waiting: dict[int | None, dict[str, None]] = {}
        self._work = BackgroundWork(_LOGGER, "asking a service manager")

    def thaw(self, unit: ManagedUnit) -> None:
        """Have the manager of the unit thaw the unit soon."""
        if self._managers is None:
            return
        self._waiting.setdefault(unit.manager, {})[unit.name] = None
        if not self._work.of(unit.manager):
            self._work.start(self._run(self._managers, unit.manager), key=unit.manager)

    def close(self) -> None:
        """Stop."""
        self._waiting.clear()
        self._work.close()

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


def _is_thawed(cgroup: str) -> bool:
    """Whether something could thaw it: what is a person's, and services of the system."""
    return cgroup.startswith(_PEOPLE) or service_of(cgroup) is not None
