# SPDX-License-Identifier: Apache-2.0
"""The wait for the next main process of a service, or for the news of no further one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from missiond.common.backoff import Backoff
from missiond.common.clock import Clock
from missiond.core.keepalive.service_restart import (
    RestartedService,
    ServiceState,
    Verdict,
    failure,
    forgotten,
    judge,
    successor,
)
from missiond.core.tasks.lease import Cause
from missiond.core.tasks.owner import Owner
from missiond.daemon.keepalive.units_reach import UnitsReach
from missiond.host.cgroups.events import CgroupEvents
from missiond.host.processes.processes import inspect
from missiond.host.systemd.unit_changes import Following
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered, UnitManagers

SHORTEST, LONGEST = 0.1, 30.0
"""Seconds between looks at a service between two main processes, where the manager does not tell."""

SHORT = 0.5
"""Seconds without a request for news of changes, as long as such a request takes."""

LAST_WORD = 1.0
"""Seconds from the answer "no such unit" to the manager's last word on a service, at most."""

PATIENCE = 600_000
"""Ms for a service to come back."""

WITHOUT_ANSWER = 60_000
"""Ms without a helpful answer until a manager is asked no more."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A service without a main process; `following` where there was a subscription before."""

    service: RestartedService
    owner: Owner
    following: Following | None = None


@dataclass(frozen=True, slots=True)
class Over:
    """The end of a service; `said` is a sentence beginning with the service."""

    cause: Cause
    said: str


class RestartWaiter:
    """A wait for one service: asks the manager at once, and after each change.

    Where it does not tell: when something happens in the cgroup, when a restart is due, and now and then.
    """

    def __init__(
        self, managers: UnitManagers, reach: UnitsReach, clock: Clock, missing: Callable[[bool], None]
    ) -> None:
        """`missing` is told after each question whether there was nobody to ask."""
        self._managers = managers
        self._reach = reach
        self._clock = clock
        self._missing = missing

    async def wait(self, watched: Watched) -> Owner | Over:
        """Return the new main process, or the reason why there is none."""
        ear = _Ear(self._managers, watched)
        try:
            return await self._wait(watched, ear)
        finally:
            ear.close()

    async def _wait(self, watched: Watched, ear: _Ear) -> Owner | Over:
        began = answered = self._clock.now()
        while True:
            state = await self._ask(watched.service)
            if isinstance(state, Over):
                return state
            if state is not None and (found := await ear.conclude(state)) is not None:
                return found
            now = self._clock.now()
            helps = state is not None and not state.main_pid
            if not helps and now - answered > WITHOUT_ANSWER:
                return Over(Cause.RESTART_FAILED, "may run or not, but not as the user of its task")
            if now - began > PATIENCE:
                return Over(Cause.RESTART_FAILED, f"did not come back within {PATIENCE // 60_000} min")
            await ear.wait(state, (began + PATIENCE - now) / 1000)
            if helps:
                answered = self._clock.now()

    async def _ask(self, service: RestartedService) -> ServiceState | Over | None:
        """None where nobody answers at this moment."""
        try:
            state = await self._managers.show(service)
        except ManagersMissing as error:
            sentence = f"no missiond-units ({error}): tasks of services end a minute after them"
            self._reach.missing(sentence)
            self._missing(True)
            return None
        except NotAnswered as error:
            self._reach.answered()
            return Over(Cause.OWNER_EXITED, "ended with its manager") if error.gone else None
        self._reach.answered()
        self._missing(False)
        return state


class _Ear:
    """What there is to hear of a service whose main process is gone."""

    def __init__(self, managers: UnitManagers, watched: Watched) -> None:
        self._managers = managers
        self._watched = watched
        self._events = CgroupEvents(watched.service.cgroup)
        self._pauses = Backoff(SHORTEST, LONGEST)
        self._loaded: ServiceState | None = None
        self._own: Following | None = None
        self._following = watched.following
        if self._following is not None:
            self._following.on_change(self._events.poke)

    def close(self) -> None:
        """Hear nothing any more."""
        self._events.close()
        if self._own is not None:
            self._own.close()
        elif self._following is not None:
            self._following.on_change(None)

    async def wait(self, state: ServiceState | None, patience: float) -> None:
        """Return when something may have changed, after `patience` seconds at the latest."""
        due = state.pause / 1000 if state is not None else 0.0
        seconds = min(max(self._pauses.next(), due), LONGEST)
        if seconds >= SHORT and self._following is None:
            self._following = self._own = self._managers.follow(self._watched.service)
            self._own.on_change(self._events.poke)
        if self._told and state is not None and judge(state) is Verdict.WAIT:
            seconds = patience + SHORT
        happened = await self._events.wait(seconds)
        if happened:
            self._pauses.reset()

    async def conclude(self, state: ServiceState) -> Owner | Over | None:
        """None where it is too early to say."""
        if state.load == "loaded":
            self._loaded = state
            return _conclude(self._watched, state)
        if judge(state) is not Verdict.STOPPED:
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                while self._told and not (self._following is None or self._following.removed):
                    await self._events.wait(LAST_WORD)
        if self._following is not None and self._following.result:
            return Over(Cause.RESTART_FAILED, forgotten(self._loaded, self._following.result))
        return Over(Cause.OWNER_EXITED, "ended and is unknown now")

    @property
    def _told(self) -> bool:
        """Whether the manager tells of every change."""
        return self._following is not None and self._following.on


def _conclude(watched: Watched, state: ServiceState) -> Owner | Over | None:
    """None where it is too early to say."""
    verdict = judge(state)
    if verdict is Verdict.STOPPED:
        return Over(Cause.OWNER_EXITED, "was stopped")
    if verdict is Verdict.FAILED:
        return Over(Cause.RESTART_FAILED, failure(state))
    if verdict is Verdict.WAIT:
        return None
    try:
        process = inspect(state.main_pid)
    except OSError:
        return None  # the old one still, or a new one that is gone already
    if process.uid != watched.owner.uid:
        return None  # it is systemd's until it becomes the user's
    return successor(watched.owner, process.pid, process.start_ticks)
