# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks on a real host: start, update, stop."""

from __future__ import annotations

from dataclasses import dataclass

from missiond.common.clock import Clock, WakeTimer
from missiond.core.power.level import PowerLevel
from missiond.core.tasks.continuous import (
    KEEP_ALIVE,
    ContinuousTask,
    Progress,
    check_modes,
    check_time_out,
    set_progress,
)
from missiond.core.tasks.lease import Cause
from missiond.core.tasks.locks import What, WhatTable, printable, what_for
from missiond.core.tasks.modes import Modes
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.want import Want
from missiond.daemon.keepalive.keep_alive import KeepAlive
from missiond.daemon.keepalive.service_restarts import Claim, ServiceRestarts
from missiond.daemon.power_watch import PowerWatch
from missiond.daemon.tasks.leases import Leases
from missiond.errors import ContinuousTaskVerificationFailed, InvalidParameter

TEXT_LENGTH = 1024

CAME_ALONG = "missiond-continued"
"""Requester of tasks from another host, moved along with a mission."""

CRITICAL = "the battery is critical: the task has its lock again on external power, or when it is charged"


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """Options of StartBackgroundRunning but modes and owner; `time_out` is in ms, None: no end."""

    context: str = ""
    keep_alive: str = "protect"
    title: str = ""
    text: str = ""
    inhibit: What = ()
    time_out: int | None = None
    want: Want | None = None

    def check(self, owner: Owner) -> None:
        """Raise InvalidParameter where a text is too long, or an option is unknown or not for this owner."""
        if self.time_out is not None:
            check_time_out(self.time_out)
        for name, value in (("context", self.context), ("title", self.title), ("text", self.text)):
            if len(value.encode()) > TEXT_LENGTH:
                raise InvalidParameter(f"{name} is longer than {TEXT_LENGTH} bytes; shorten it")
        if self.keep_alive not in KEEP_ALIVE:
            raise InvalidParameter(f"keep-alive is one of {', '.join(KEEP_ALIVE)}")
        if self.keep_alive == "restart" and not (owner.unit or "").endswith(".service"):
            raise InvalidParameter(
                f"keep-alive restart is for systemd services and process {owner.pid} is in none; use protect"
            )


class ContinuousTaskService:
    """Service of continuous tasks: calls from the bus, time-outs and the battery."""

    def __init__(
        self,
        clock: Clock,
        power: PowerWatch,
        leases: Leases,
        alarm: WakeTimer,
        what: WhatTable,
        keep_alive: KeepAlive | None,
        restarts: ServiceRestarts,
    ) -> None:
        self._clock = clock
        self._power = power
        self._leases = leases
        self._alarm = alarm
        self._keep_alive = keep_alive
        self._restarts = restarts
        self._what = what
        self.tasks = leases.continuous
        """The live ones."""

    def configure(self, what: WhatTable) -> None:
        """Put other locks of modes in force, for new tasks."""
        self._what = what

    async def start(self, modes: Modes, owner: Owner, requester: App, wish: TaskRequest) -> ContinuousTask:
        """Start a task, and return the live task, locked and within seconds protected.

        Raises InvalidParameter, NotSystemApp, ContinuousTaskVerificationFailed, CallerVerificationFailed,
        MemoryFailed, and SystemServiceFailed where a service can't be kept running.
        """
        wish.check(owner)
        came = self._came_along(owner, wish)
        if came is None:
            return await self._start(modes, owner, requester, wish)
        spare = f"{CAME_ALONG}-{came.id}-0"
        await self._leases.keeper.take(spare, came.lock)  # so that there is no gap
        try:
            self._leases.release(came, Cause.STOPPED)
            return await self._start(modes, owner, requester, wish)
        finally:
            self._leases.keeper.release(spare)

    def check(self, app: App, context: str) -> None:
        """Raise ContinuousTaskVerificationFailed where such a task could not start now."""
        self.tasks.admit(app, context, self._power.fresh().granting)

    def what_of(self, modes: Modes, wish: TaskRequest) -> What:
        """Return the items a task of these modes would lock."""
        return what_for(modes, self._what, wish.inhibit)

    def time_left(self, task: ContinuousTask) -> int | None:
        """Return the ms until the task's time-out; None without one."""
        return None if task.deadline is None else max(0, task.deadline - self._clock.now())

    def _came_along(self, owner: Owner, wish: TaskRequest) -> ContinuousTask | None:
        """Find the task that came from another host with this process, which asks for the same now."""
        found = self.tasks.of(owner.app, wish.context)
        ours = found is not None and found.requester.app_id == CAME_ALONG
        return found if found is not None and ours and found.owner.pid == owner.pid else None

    async def _start(self, modes: Modes, owner: Owner, requester: App, wish: TaskRequest) -> ContinuousTask:
        self.check(owner.app, wish.context)
        if wish.keep_alive == "restart":
            task = await self._start_kept(modes, await self._restarts.claim(owner), requester, wish)
        else:
            task = self._new(modes, owner, requester, wish)
            await self._leases.enlist(task)
        self.schedule()
        await self._until_covered(task)
        return task

    async def _until_covered(self, task: ContinuousTask) -> None:
        """Who has the answer may log out."""
        if self._keep_alive is None:
            return
        try:
            await self._keep_alive.covered(task)
        except BaseException:  # whoever asked will never know of it
            if self._leases.is_live(task):
                self.cancel(task)
            raise
        self._check_live(task)

    def _check_live(self, task: ContinuousTask) -> None:
        if not self._leases.is_live(task):
            raise ContinuousTaskVerificationFailed("the task ended meanwhile; start another")

    async def _start_kept(
        self, modes: Modes, claim: Claim, requester: App, wish: TaskRequest
    ) -> ContinuousTask:
        self.check(claim.owner.app, wish.context)
        task = self._new(modes, claim.owner, requester, wish)
        try:
            await self._restarts.begin(task, claim)
            self.check(claim.owner.app, wish.context)
            await self._leases.enlist(task)
        except BaseException:
            self._restarts.let_go(task)
            raise
        return task

    def _new(self, modes: Modes, owner: Owner, requester: App, wish: TaskRequest) -> ContinuousTask:
        now = self._clock.now()
        return ContinuousTask(
            id=self._leases.next_id(ContinuousTask.kind, owner.uid),
            owner=owner,
            requester=requester,
            started=now,
            context=wish.context,
            modes=modes,
            what=self.what_of(modes, wish),
            keep_alive=wish.keep_alive,
            title=printable(wish.title, TEXT_LENGTH),
            text=printable(wish.text, TEXT_LENGTH),
            inhibit=wish.inhibit,
            deadline=None if wish.time_out is None else now + wish.time_out,
            want=wish.want,
        )

    async def update(self, modes: Modes, uid: int, app: App, context: str) -> ContinuousTask:
        """Give the application's task other modes; the lock has no gap. A suspended one stays suspended.

        Raises NotSystemApp, ContinuousTaskVerificationFailed.
        """
        check_modes(modes, uid)
        task = self.tasks.started(app, context)
        if modes != task.modes:
            task.modes, task.what = modes, what_for(modes, self._what, task.inhibit)
            self._leases.save(task)
            await self._leases.hold(task)
            self._check_live(task)
            self._leases.changed(task, "BgModes", "What")
        return task

    def stop(self, app: App, context: str) -> None:
        """End a task for the application; raises ContinuousTaskVerificationFailed without one."""
        self._leases.release(self.tasks.started(app, context), Cause.STOPPED)

    def cancel(self, task: ContinuousTask) -> None:
        """End a task for the user."""
        self._leases.release(task, Cause.CANCELLED)

    def progress(self, task: ContinuousTask, progress: Progress) -> None:
        """Note how far a transfer is; raises InvalidParameter, NotificationVerificationFailed."""
        set_progress(task, progress)
        self._leases.save(task)
        self._leases.changed(task, "Progress")

    def ring(self) -> None:
        """End due tasks at the alarm."""
        for task in self.tasks.due(self._clock):
            self._leases.release(task, Cause.EXPIRED)
        self.schedule()

    def schedule(self) -> None:
        """Set the alarm to the next time-out."""
        self._alarm.set(self.tasks.next_due())

    def power_changed(self) -> None:
        """Suspend all tasks on a critical battery, and refuse starts; otherwise activate tasks."""
        critical = self._power.level is PowerLevel.CRITICAL
        for task in self.tasks:
            if not critical:
                self._leases.activate(task, SuspendReason.BATTERY_CRITICAL)
            elif self._leases.is_starting(task):
                self._leases.release(task, Cause.BATTERY_CRITICAL)
            else:
                self._leases.suspend(task, SuspendReason.BATTERY_CRITICAL, CRITICAL)
