# SPDX-License-Identifier: Apache-2.0
"""Objects of the live tasks: read-only properties."""

from __future__ import annotations

from typing import Any

from missiond import bus_names
from missiond.bus.interface import Interface
from missiond.bus.variants import variant
from missiond.core.tasks.continuous import ContinuousTask, Progress
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks.leases import Leases
from missiond.host.clocks.boottime import since_epoch


class TransientTaskObject(Interface):
    """org.missiond.Agent1.TransientTask."""

    name = bus_names.TRANSIENT_TASK

    def __init__(self, task: TransientTask, leases: Leases) -> None:
        self._task = task
        self._leases = leases

    def properties(self) -> dict[str, Any]:
        """Return all properties."""
        task = self._task
        return {
            "Id": task.id,
            "AppId": task.owner.app.app_id,
            "Uid": task.owner.uid,
            "Pid": task.owner.pid,
            "Reason": task.reason,
            "Started": since_epoch(task.started),
            "ActualDelayTime": task.actual_delay,
            "Deadline": since_epoch(task.deadline),
            "Remaining": self._leases.transient.remaining(task),
            "What": task.lock.what_text,
            "Locked": self._leases.keeper.is_held(task.key),
        }


CHECK = "off"
"""Value of `Check`: nobody compares the work of tasks with the modes."""


class ContinuousTaskObject(Interface):
    """org.missiond.Agent1.ContinuousTask."""

    name = bus_names.CONTINUOUS_TASK

    def __init__(self, task: ContinuousTask, leases: Leases) -> None:
        self._task = task
        self._leases = leases

    @property
    def varies(self) -> bool:
        """Whether users see different values: texts and context are for user and root."""
        return True

    def properties_for(self, uid: int | None) -> dict[str, Any]:
        """Return all properties; texts and context are empty for others than user and root."""
        task, progress = self._task, self._task.progress
        private = uid in (0, task.owner.uid)
        if not private:
            progress = Progress(value=progress.value)
        return {
            "Id": task.id,
            "AppId": task.owner.app.app_id,
            "Uid": task.owner.uid,
            "Pid": task.owner.pid,
            "Context": task.context if private else "",
            "BgModes": [mode.item for mode in task.modes],
            "KeepAlive": task.keep_alive,
            "Title": task.title if private else "",
            "Text": task.text if private else "",
            "Started": since_epoch(task.started),
            "Deadline": since_epoch(task.deadline) if task.deadline is not None else 0,
            "Inhibit": list(task.inhibit),
            "Missing": self._leases.missing(task),
            "Check": CHECK,
            "NotificationId": task.notification_id,
            "Suspended": task.suspended,
            "SuspendReason": task.suspend_reason,
            "Restarts": task.restarts,
            "Progress": {
                "title": variant("s", progress.title),
                "file-name": variant("s", progress.file_name),
                "value": variant("u", progress.value),
            },
            "What": task.lock.what_text,
            "Locked": self._leases.keeper.is_held(task.key),
        }
