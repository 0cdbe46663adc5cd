# SPDX-License-Identifier: Apache-2.0
"""Transient tasks on a real host: requests, warnings, ends."""

from __future__ import annotations

from missiond.common.clock import Clock, WakeTimer
from missiond.core.power.level import PowerLevel
from missiond.core.tasks.lease import Cause
from missiond.core.tasks.locks import printable
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.power_watch import PowerWatch
from missiond.daemon.tasks.leases import Leases
from missiond.errors import InvalidParameter


class TransientTaskService:
    """Service of transient tasks: calls from the bus, warnings, ends and the battery."""

    def __init__(
        self, clock: Clock, power: PowerWatch, leases: Leases, alarm: WakeTimer, reason_length: int
    ) -> None:
        self._clock = clock
        self._power = power
        self._leases = leases
        self._alarm = alarm
        self._reason_length = reason_length
        self.tasks = leases.transient
        """The live ones."""

    def configure(self, reason_length: int) -> None:
        """Put another longest reason (bytes) in force."""
        self._reason_length = reason_length
        self.schedule()

    async def request(self, owner: Owner, requester: App, reason: str, delay: int | None) -> TransientTask:
        """Start a task, and return the live task, locked; `delay` is in ms, None for the most.

        Raises InvalidParameter, TransientTaskVerificationFailed, CallerVerificationFailed, MemoryFailed.
        """
        if len(reason.encode()) > self._reason_length:
            raise InvalidParameter(f"reason is longer than {self._reason_length} bytes; shorten it")
        granted = self.tasks.grant(owner.app, delay, self._power.fresh().granting)
        now = self._clock.now()
        task = TransientTask(
            id=self._leases.next_id(TransientTask.kind, owner.uid),
            owner=owner,
            requester=requester,
            started=now,
            reason=printable(reason, self._reason_length),
            deadline=now + granted,
            what=self.tasks.limits.what,
        )
        await self._leases.enlist(task)
        self.schedule()
        return task

    def cancel(self, request_id: int, uid: int) -> None:
        """End a request of this user; raises as TransientTasks.find."""
        self._leases.release(self.tasks.find(request_id, uid), Cause.CANCELLED)

    def ring(self) -> None:
        """Warn of and end due tasks at the alarm."""
        warn, over = self.tasks.due()
        for task in warn:
            self._leases.save(task)
            self._leases.expiring(task, self.tasks.remaining(task))
        for task, cause in over:
            self._leases.release(task, cause)
        self.schedule()

    def power_changed(self) -> None:
        """Cut or end live requests as the battery's level asks."""
        if self._power.level is PowerLevel.CRITICAL:
            for task in self.tasks:
                self._leases.release(task, Cause.BATTERY_CRITICAL)
        elif self._power.level is PowerLevel.LOW:
            for task in self.tasks.battery_low():
                self._leases.save(task)
                self._leases.changed(task, "ActualDelayTime", "Deadline")
        self.schedule()

    def schedule(self) -> None:
        """Set the alarm to the next warning or end."""
        self._alarm.set(self.tasks.next_due())
