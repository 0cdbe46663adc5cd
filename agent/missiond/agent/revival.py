# SPDX-License-Identifier: Apache-2.0
"""Waits until a service whose main process is gone has another, or is known to get none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from missiond.agent.degraded import Degraded
from missiond.core.clock import Clock
from missiond.core.lease import Cause
from missiond.core.owner import Owner
from missiond.core.restart import Service, ServiceState, Verdict, failure, judge, successor
from missiond.host.cgroup_events import CgroupEvents
from missiond.host.processes import inspect
from missiond.host.unit_managers import ManagersMissing, NotAnswered

SHORTEST, LONGEST = 0.1, 30.0
"""Seconds after which a service that is in between is looked at again, where nothing is seen of it."""

PATIENCE = 600_000
"""Ms that a service may take to come back."""

WITHOUT_ANSWER = 60_000
"""Ms after which a manager that gives no answer that helps is not asked any more."""


class Shows(Protocol):
    """Tells what a manager says of a service; raises ManagersMissing and NotAnswered."""

    async def show(self, service: Service) -> ServiceState:
        """What it says."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """A service, and its main process that is gone."""

    service: Service
    owner: Owner


@dataclass(frozen=True, slots=True)
class Over:
    """The service is not coming back; `said` is a sentence that begins with the service."""

    cause: Cause
    said: str


class Revival:
    """Asks the manager at once, then whenever something happens in the cgroup, and when a restart is due."""

    def __init__(self, managers: Shows, degraded: Degraded, clock: Clock) -> None:
        self._managers = managers
        self._degraded = degraded
        self._clock = clock

    async def wait(self, watched: Watched) -> Owner | Over:
        """The new main process, or why there is none."""
        began = answered = self._clock.now()
        pause = SHORTEST
        events = CgroupEvents(watched.service.cgroup)
        try:
            while True:
                state = await self._ask(watched.service)
                if isinstance(state, Over):
                    return state
                now = self._clock.now()
                if state is not None:
                    if (found := _conclude(watched, state)) is not None:
                        return found
                    if not state.main_pid:
                        answered = now
                if now - answered > WITHOUT_ANSWER:
                    return Over(Cause.RESTART_FAILED, "may run or not, but not as the user of its task")
                if now - began > PATIENCE:
                    return Over(Cause.RESTART_FAILED, f"did not come back within {PATIENCE // 60_000} min")
                due = state.pause / 1000 if state is not None else 0.0
                happened = await events.wait(min(max(pause, due), LONGEST))
                pause = SHORTEST if happened else min(2 * pause, LONGEST)
        finally:
            events.close()

    async def _ask(self, service: Service) -> ServiceState | Over | None:
        """None where nobody answers at this moment."""
        try:
            state = await self._managers.show(service)
        except ManagersMissing as error:
            sentence = f"no missiond-units ({error}): tasks of services end a minute after them"
            self._degraded.set("units", sentence)
            return None
        except NotAnswered as error:
            self._degraded.set("units", None)
            return Over(Cause.OWNER_EXITED, "ended with its manager") if error.gone else None
        self._degraded.set("units", None)
        return state


def _conclude(watched: Watched, state: ServiceState) -> Owner | Over | None:
    """None where it is too early to say."""
    verdict = judge(state)
    if verdict is Verdict.STOPPED:
        gone = state.load != "loaded"
        return Over(Cause.OWNER_EXITED, "ended and is unknown now" if gone else "was stopped")
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
