# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks on a real host: start, update, stop."""

from __future__ import annotations

from dataclasses import dataclass

from missiond.agent.leases import Leases
from missiond.agent.power_watch import PowerWatch
from missiond.agent.restarts import Claim, Restarts
from missiond.core.clock import Clock
from missiond.core.continuous import (
    KEEP_ALIVE,
    ContinuousTask,
    ContinuousTasks,
    Progress,
    check_modes,
    set_progress,
)
from missiond.core.lease import Cause
from missiond.core.locks import WhatTable, printable, what_for
from missiond.core.modes import Modes
from missiond.core.owner import App, Owner
from missiond.core.power import PowerLevel
from missiond.errors import ContinuousTaskVerificationFailed, InvalidParameter

TEXT_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """What StartBackgroundRunning asks for, beside modes and owner."""

    context: str = ""
    keep_alive: str = "protect"
    title: str = ""
    text: str = ""

    def check(self, owner: Owner) -> None:
        """Raise InvalidParameter where a text is too long, or keep-alive unknown or not for this owner."""
        for name, value in (("context", self.context), ("title", self.title), ("text", self.text)):
            if len(value.encode()) > TEXT_LENGTH:
                raise InvalidParameter(f"{name} is longer than {TEXT_LENGTH} bytes; shorten it")
        if self.keep_alive not in KEEP_ALIVE:
            raise InvalidParameter(f"keep-alive is one of {', '.join(KEEP_ALIVE)}")
        if self.keep_alive == "restart" and not (owner.unit or "").endswith(".service"):
            raise InvalidParameter(
                f"keep-alive restart is for systemd services and process {owner.pid} is in none; use protect"
            )


class BackgroundRunning:
    """What the bus asks for, and what the battery does."""

    def __init__(
        self, clock: Clock, power: PowerWatch, leases: Leases, what: WhatTable, restarts: Restarts
    ) -> None:
        self._clock = clock
        self._power = power
        self._leases = leases
        self._restarts = restarts
        self.what = what

    @property
    def tasks(self) -> ContinuousTasks:
        """The live ones."""
        return self._leases.continuous

    async def start(self, modes: Modes, owner: Owner, requester: App, wish: Wish) -> ContinuousTask:
        """A live task with its lock, and its owner looked after where that took no longer than seconds.

        Raises InvalidParameter, NotSystemApp, ContinuousTaskVerificationFailed, CallerVerificationFailed,
        MemoryFailed, and SystemServiceFailed where a service can't be kept running.
        """
        wish.check(owner)
        self._admit(owner, wish)
        if wish.keep_alive == "restart":
            task = await self._start_kept(modes, await self._restarts.claim(owner), requester, wish)
        else:
            task = self._new(modes, owner, requester, wish)
            await self._leases.enlist(task)
        await self._until_covered(task)
        return task

    async def _until_covered(self, task: ContinuousTask) -> None:
        """Who has the answer may log out."""
        if self._leases.guard is None:
            return
        try:
            await self._leases.guard.covered(task)
        except BaseException:  # whoever asked will never know of it
            if self._leases.is_live(task):
                self.cancel(task)
            raise
        self._check_live(task)

    def _check_live(self, task: ContinuousTask) -> None:
        if not self._leases.is_live(task):
            raise ContinuousTaskVerificationFailed("the task ended meanwhile; start another")

    async def _start_kept(self, modes: Modes, claim: Claim, requester: App, wish: Wish) -> ContinuousTask:
        self._admit(claim.owner, wish)
        task = self._new(modes, claim.owner, requester, wish)
        try:
            await self._restarts.begin(task, claim)
            self._admit(claim.owner, wish)
            await self._leases.enlist(task)
        except BaseException:
            self._restarts.ended(task)
            raise
        return task

    def _admit(self, owner: Owner, wish: Wish) -> None:
        self.tasks.admit(owner.app, wish.context, self._power.level_now())

    def _new(self, modes: Modes, owner: Owner, requester: App, wish: Wish) -> ContinuousTask:
        return ContinuousTask(
            id=self._leases.next_id(ContinuousTask.kind),
            owner=owner,
            requester=requester,
            started=self._clock.now(),
            context=wish.context,
            modes=modes,
            what=what_for(modes, self.what),
            keep_alive=wish.keep_alive,
            title=printable(wish.title, TEXT_LENGTH),
            text=printable(wish.text, TEXT_LENGTH),
        )

    async def update(self, modes: Modes, uid: int, app: App, context: str) -> ContinuousTask:
        """Give the application's task other modes; the lock has no gap.

        Raises NotSystemApp, ContinuousTaskVerificationFailed.
        """
        check_modes(modes, uid)
        task = self.tasks.started(app, context)
        if modes != task.modes:
            task.modes, task.what = modes, what_for(modes, self.what)
            self._leases.save(task)
            await self._leases.keeper.take(task.key, task.lock)
            self._check_live(task)
            self._changed(task, "BgModes", "What")
        return task

    def stop(self, app: App, context: str) -> None:
        """The application's own end of its task; raises ContinuousTaskVerificationFailed without one."""
        self._leases.release(self.tasks.started(app, context), Cause.STOPPED)

    def cancel(self, task: ContinuousTask) -> None:
        """The user's end of a task."""
        self._leases.release(task, Cause.CANCELLED)

    def progress(self, task: ContinuousTask, progress: Progress) -> None:
        """Note how far a transfer is; raises InvalidParameter, NotificationVerificationFailed."""
        set_progress(task, progress)
        self._leases.save(task)
        self._changed(task, "Progress")

    def power_changed(self) -> None:
        """A critical battery ends every task."""
        if self._power.level is PowerLevel.CRITICAL:
            for task in self.tasks:
                self._leases.release(task, Cause.BATTERY_CRITICAL)

    def _changed(self, task: ContinuousTask, *properties: str) -> None:
        if self._leases.observer is not None:
            self._leases.observer.changed(task, *properties)
