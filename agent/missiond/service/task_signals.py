# SPDX-License-Identifier: Apache-2.0
"""Tells the bus what happens to leases: objects and signals."""

from __future__ import annotations

from collections.abc import Callable

from missiond import bus_names
from missiond.bus.server import Server
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks.leases import Leases
from missiond.service.task_objects import ContinuousTaskObject, TransientTaskObject

USER_CANCEL = 1
SYSTEM_CANCEL = 2


class Announcer:
    """The Observer of the leases; `touched` is called after each of them."""

    def __init__(self, server: Server, leases: Leases, touched: Callable[[], None]) -> None:
        self._server = server
        self._leases = leases
        self._touched = touched

    def added(self, lease: Lease) -> None:
        """Put its object on the bus."""
        if isinstance(lease, TransientTask):
            self._server.add(bus_names.path_of(lease), TransientTaskObject(lease, self._leases))
        elif isinstance(lease, ContinuousTask):
            self._server.add(bus_names.path_of(lease), ContinuousTaskObject(lease, self._leases))
        self._touched()

    def changed(self, lease: Lease, *properties: str) -> None:
        """Tell its new values."""
        interface = (
            bus_names.TRANSIENT_TASK if isinstance(lease, TransientTask) else bus_names.CONTINUOUS_TASK
        )
        self._server.changed(bus_names.path_of(lease), interface, *properties)
        self._touched()

    def expiring(self, task: TransientTask, remaining: int) -> None:
        """SuspendDelayExpiring."""
        self._emit("SuspendDelayExpiring", task.id, remaining)

    def failed(self, task: ContinuousTask, said: str) -> None:
        """ContinuousTaskFailed."""
        self._emit("ContinuousTaskFailed", task.id, said)

    def suspended(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """ContinuousTaskSuspend."""
        self._emit("ContinuousTaskSuspend", task.id, int(reason), message)
        self.changed(task, "Suspended", "SuspendReason", "Locked")

    def active(self, task: ContinuousTask) -> None:
        """ContinuousTaskActive."""
        self._emit("ContinuousTaskActive", task.id)
        self.changed(task, "Suspended", "SuspendReason", "Locked")

    def ended(self, lease: Lease, cause: Cause) -> None:
        """SuspendDelayEnded or ContinuousTaskCancel, then the object goes."""
        if isinstance(lease, TransientTask):
            self._emit("SuspendDelayEnded", lease.id, cause.value)
        elif cause is not Cause.STOPPED:
            reason = USER_CANCEL if cause is Cause.CANCELLED else SYSTEM_CANCEL
            self._emit("ContinuousTaskCancel", lease.id, reason)
        self._server.remove(bus_names.path_of(lease))
        self._touched()

    def _emit(self, member: str, *args: object) -> None:
        self._server.emit(bus_names.MANAGER_PATH, bus_names.BACKGROUND_TASK_MANAGER, member, *args)
