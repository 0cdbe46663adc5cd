# SPDX-License-Identifier: Apache-2.0
"""Objects and signals of tasks on the bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from missiond import bus_names
from missiond.bus.server import Server
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks.events import LeaseObserver
from missiond.daemon.tasks.leases import Leases
from missiond.service.task_objects import ContinuousTaskObject, TransientTaskObject

USER_CANCEL = 1
SYSTEM_CANCEL = 2


_OBJECTS: dict[str, Any] = {
    TransientTask.kind: TransientTaskObject,
    ContinuousTask.kind: ContinuousTaskObject,
}


class TaskAnnouncer(LeaseObserver):
    """Announcer of tasks; `touched` is called after an object came, changed or went."""

    def __init__(self, server: Server, leases: Leases, touched: Callable[[], None]) -> None:
        self._server = server
        self._leases = leases
        self._touched = touched
        leases.subscribe(self)

    def added(self, lease: Lease) -> None:
        """Put the object of a task on the bus."""
        self._server.add(bus_names.path_of(lease), _OBJECTS[lease.kind](lease, self._leases))
        self._touched()

    def changed(self, lease: Lease, *properties: str) -> None:
        """Tell of new values of a task's properties."""
        self._server.changed(bus_names.path_of(lease), _OBJECTS[lease.kind].name, *properties)
        self._touched()

    def expiring(self, task: TransientTask, remaining: int) -> None:
        """SuspendDelayExpiring."""
        self._emit("SuspendDelayExpiring", task.id, remaining)

    def suspended(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """ContinuousTaskSuspend."""
        self._emit("ContinuousTaskSuspend", task.id, int(reason), message)
        self.changed(task, "Suspended", "SuspendReason", "Locked")

    def active(self, task: ContinuousTask) -> None:
        """ContinuousTaskActive."""
        self._emit("ContinuousTaskActive", task.id)
        self.changed(task, "Suspended", "SuspendReason", "Locked")

    def ended(self, lease: Lease, cause: Cause, said: str = "") -> None:
        """Emit SuspendDelayEnded, or ContinuousTaskFailed and ContinuousTaskCancel; then the object goes."""
        if said:
            self._emit("ContinuousTaskFailed", lease.id, said)
        if isinstance(lease, TransientTask):
            self._emit("SuspendDelayEnded", lease.id, cause.value)
        elif cause is not Cause.STOPPED:
            reason = USER_CANCEL if cause is Cause.CANCELLED else SYSTEM_CANCEL
            self._emit("ContinuousTaskCancel", lease.id, reason)
        self._server.remove(bus_names.path_of(lease))
        self._touched()

    def _emit(self, member: str, *args: object) -> None:
        self._server.emit(bus_names.MANAGER_PATH, bus_names.BACKGROUND_TASK_MANAGER, member, *args)
