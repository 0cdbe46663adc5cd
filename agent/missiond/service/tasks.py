# SPDX-License-Identifier: Apache-2.0
"""Objects of the live tasks: read-only properties."""

from __future__ import annotations

from typing import Any

from missiond.agent.leases import Leases
from missiond.bus.interface import Interface
from missiond.bus.values import variant
from missiond.core.continuous import ContinuousTask
from missiond.core.transient import TransientTask
from missiond.service import names


class TransientTaskObject(Interface):
    """org.missiond.Agent1.TransientTask."""

    name = names.TRANSIENT_TASK

    def __init__(self, task: TransientTask, leases: Leases) -> None:
        self._task = task
        self._leases = leases

    def properties(self) -> dict[str, Any]:
        """All properties as they are now."""
        task = self._task
        return {
            "Id": task.id,
            "AppId": task.owner.app.app_id,
            "Uid": task.owner.uid,
            "Pid": task.owner.pid,
            "Reason": task.reason,
            "ActualDelayTime": task.actual_delay,
            "Remaining": self._leases.transient.remaining(task),
            "What": task.lock.what_text,
            "Locked": self._leases.keeper.is_held(task.key),
        }


class ContinuousTaskObject(Interface):
    """org.missiond.Agent1.ContinuousTask."""

    name = names.CONTINUOUS_TASK

    def __init__(self, task: ContinuousTask, leases: Leases) -> None:
        self._task = task
        self._leases = leases

    def properties(self) -> dict[str, Any]:
        """All properties as they are now."""
        task, progress = self._task, self._task.progress
        return {
            "Id": task.id,
            "AppId": task.owner.app.app_id,
            "Uid": task.owner.uid,
            "Pid": task.owner.pid,
            "Context": task.context,
            "BgModes": [mode.item for mode in task.modes],
            "KeepAlive": task.keep_alive,
            "Title": task.title,
            "NotificationId": task.notification_id,
            "Suspended": task.suspended,
            "Restarts": task.restarts,
            "Progress": {
                "title": variant("s", progress.title),
                "file-name": variant("s", progress.file_name),
                "value": variant("u", progress.value),
            },
            "What": task.lock.what_text,
            "Locked": self._leases.keeper.is_held(task.key),
        }
