# SPDX-License-Identifier: Apache-2.0
"""Transient tasks: a few minutes to finish something, out of a quota."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from missiond.common.clock import Clock
from missiond.common.deadlines import Deadlines
from missiond.core.json_types import BootTime
from missiond.core.power.level import PowerLevel
from missiond.core.tasks.lease import Cause, Lease, LeaseTable
from missiond.core.tasks.locks import MAX_WHO, MAX_WHY, Locks, LockSpec, What, printable
from missiond.core.tasks.owner import App
from missiond.core.tasks.quota import Quota, Usage
from missiond.errors import (
    AgentError,
    CallerVerificationFailed,
    InvalidParameter,
    TransientTaskVerificationFailed,
)


@dataclass(frozen=True, slots=True)
class TransientLimits:
    """Numbers of the transient tasks; times in ms."""

    max_requests: int = 3
    max_delay: int = 180_000
    low_battery_max_delay: int = 60_000
    minimum_quota: int = 16_000
    warning_time: int = 6_000
    what: What = ("sleep",)


@dataclass(slots=True, kw_only=True)
class TransientTask(Lease):
    """One live request. `deadline` is in ms of the core's clock."""

    kind: ClassVar[str] = "transient"
    refusal: ClassVar[type[AgentError]] = TransientTaskVerificationFailed

    reason: str
    deadline: BootTime
    what: Locks = ("sleep",)
    warned: bool = False
    cut: bool = False

    @property
    def actual_delay(self) -> int:
        """Ms granted in all."""
        return self.deadline - self.started

    @property
    def lock(self) -> LockSpec:
        """The logind lock of the task."""
        owner = self.owner
        who = printable(f"{owner.app.app_id} (pid {owner.pid}, uid {owner.uid})", MAX_WHO)
        return LockSpec(self.what, who, printable(f"transient task {self.id}: {self.reason}", MAX_WHY))


class TransientTasks(LeaseTable[TransientTask]):
    """Table of live requests, with the rules for new ones."""

    def __init__(self, clock: Clock, quota: Quota, limits: TransientLimits) -> None:
        super().__init__()
        self._clock = clock
        self._quota = quota
        self._limits = limits
        self._of_app: dict[App, dict[int, TransientTask]] = {}
        self._due = Deadlines[int]()

    @property
    def limits(self) -> TransientLimits:
        """Limits in force."""
        return self._limits

    def configure(self, limits: TransientLimits) -> None:
        """Put other limits in force; live tasks are as granted."""
        self._limits = limits

    def grant(self, app: App, delay: int | None, level: PowerLevel) -> int:
        """Return the ms granted to the application now, at most `delay` where given.

        Raises InvalidParameter for a delay of 0, TransientTaskVerificationFailed for a critical battery,
        too many live requests, or too little quota, in this order.
        """
        if delay == 0:
            raise InvalidParameter("delay must be at least 1 ms; leave it out to get the most")
        if level is PowerLevel.CRITICAL:
            raise TransientTaskVerificationFailed("the battery is critical; ask again on external power")
        limits = self._limits
        if len(self._of_app.get(app, ())) >= limits.max_requests:
            raise TransientTaskVerificationFailed(
                f"{limits.max_requests} requests of this application are live; cancel one first"
            )
        if not self._quota.may_open(app):
            raise TransientTaskVerificationFailed(
                "quotas of no further application of this user can be counted;"
                " use a continuous task, or wait until one of them has its whole quota again"
            )
        quota = self._quota.remaining(app)
        if quota < limits.minimum_quota:
            raise TransientTaskVerificationFailed(
                f"{quota} ms of quota are left and {limits.minimum_quota} are the least;"
                " use a continuous task for longer work, or wait"
            )
        cap = limits.max_delay if level is PowerLevel.NORMAL else limits.low_battery_max_delay
        return min(quota, cap, quota if delay is None else delay)

    def add(self, lease: TransientTask) -> None:
        """Make the task live: time runs and quota burns from now on."""
        super().add(lease)
        self._of_app.setdefault(lease.owner.app, {})[lease.id] = lease
        self._quota.begin(lease.owner.app, lease.id, lease.started)
        self._schedule(lease)

    def remove(self, lease: TransientTask) -> list[Usage]:
        """Take the task out, and return the used quota."""
        super().remove(lease)
        siblings = self._of_app[lease.owner.app]
        del siblings[lease.id]
        if not siblings:
            del self._of_app[lease.owner.app]
        self._due.drop(lease.id)
        return [self._quota.end(lease.owner.app, lease.id)]

    def find(self, request_id: int, uid: int) -> TransientTask:
        """Return a live request for a caller with this uid (0 may have any).

        Raises InvalidParameter for id 0, CallerVerificationFailed for an unknown or a foreign one.
        """
        if request_id == 0:
            raise InvalidParameter("request_id starts at 1")
        task = self._live.get(request_id)
        if task is None or uid not in (0, task.owner.uid):
            raise CallerVerificationFailed(f"no live request {request_id} of this user")
        return task

    def of(self, app: App) -> list[TransientTask]:
        """Return live requests owned or made by the application, by id."""
        return [t for t in self._live.values() if app in (t.owner.app, t.requester)]

    def remaining_quota(self, app: App) -> int:
        """Ms left to the application."""
        return self._quota.remaining(app)

    def remaining(self, task: TransientTask) -> int:
        """Ms until the task ends."""
        return max(0, task.deadline - self._clock.now())

    def battery_low(self) -> list[TransientTask]:
        """Cut live requests for a low battery, never under the warning time; return the changed ones."""
        now, limits = self._clock.now(), self._limits
        changed = []
        for task in self._live.values():
            deadline = max(task.started + limits.low_battery_max_delay, now + limits.warning_time)
            if deadline < task.deadline:
                task.deadline, task.cut = deadline, True
                self._schedule(task)
                changed.append(task)
        return changed

    def next_due(self) -> int | None:
        """When `due` has something to say next, in ms of the clock."""
        return self._due.next()

    def due(self) -> tuple[list[TransientTask], list[tuple[TransientTask, Cause]]]:
        """Return requests to warn of now (once each), and ended ones with causes."""
        now = self._clock.now()
        warn, over = [], []
        for task in [self._live[key] for key in self._due.pop_due(now)]:
            if task.deadline <= now:
                over.append((task, Cause.BATTERY_LOW if task.cut else Cause.EXPIRED))
            else:
                task.warned = True
                warn.append(task)
                self._schedule(task)
        return warn, over

    def _schedule(self, task: TransientTask) -> None:
        warning = max(task.started, task.deadline - self._limits.warning_time)
        self._due.set(task.id, task.deadline if task.warned else warning)
