# SPDX-License-Identifier: Apache-2.0
"""Live tasks of all users of the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from missiond.bus_names import BACKGROUND_TASK_MANAGER, CONTINUOUS_TASK, TRANSIENT_TASK
from missiond.client._types import Mode, SuspendReason, modes_of, moment

if TYPE_CHECKING:
    from missiond.client._bus import AgentBus


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """Progress of a data transfer; `value` is per cent."""

    title: str
    file_name: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    _bus: AgentBus = field(repr=False, compare=False)
    id: int
    application: str
    uid: int
    pid: int
    started: datetime | None
    ends: datetime | None
    """When it ends by itself; None: never, or not known."""
    lock: str
    """What is locked for it, for example `sleep:idle`."""
    locked: bool
    """Whether the lock is held at this moment."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Name that missionctl takes, for example `transient/12`."""
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayInfo(_Common):
    """A transient task; `granted` and `remaining` are seconds."""

    kind: ClassVar[str] = "transient"

    reason: str
    granted: float
    remaining: float

    @classmethod
    def of(cls, bus: AgentBus, values: Mapping[str, Any]) -> DelayInfo:
        """Read the properties of one."""
        return cls(
            **_common(bus, values),
            reason=values["Reason"],
            granted=values["ActualDelayTime"] / 1000,
            remaining=values["Remaining"] / 1000,
        )

    async def cancel(self) -> None:
        """End the delay; raises NotFound (over, or another user's)."""
        await self._bus.call(BACKGROUND_TASK_MANAGER, "CancelSuspendDelay", self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo(_Common):
    """Continuous task; `missing` are the failed parts of keep-alive."""

    kind: ClassVar[str] = "continuous"

    context: str
    modes: tuple[Mode | str, ...]
    keep_alive: str
    title: str
    text: str
    inhibit: tuple[str, ...]
    missing: tuple[str, ...]
    check: str
    notification_id: int
    suspended: bool
    suspend_reason: SuspendReason | int
    restarts: int
    progress: TransferProgress

    @classmethod
    def of(cls, bus: AgentBus, values: Mapping[str, Any]) -> TaskInfo:
        """Read the properties of one."""
        reason, progress = values["SuspendReason"], values["Progress"]
        return cls(
            **_common(bus, values),
            context=values["Context"],
            modes=modes_of(values["BgModes"]),
            keep_alive=values["KeepAlive"],
            title=values["Title"],
            text=values.get("Text", ""),
            inhibit=tuple(values.get("Inhibit", ())),
            missing=tuple(values.get("Missing", ())),
            check=values.get("Check", "off"),
            notification_id=values["NotificationId"],
            suspended=values["Suspended"],
            suspend_reason=SuspendReason(reason) if reason in set(SuspendReason) else reason,
            restarts=values.get("Restarts", 0),
            progress=TransferProgress(
                progress.get("title", ""), progress.get("file-name", ""), progress.get("value", 0)
            ),
        )

    async def cancel(self) -> None:
        """End the task as the user; raises Refused (over) and Denied (another user's)."""
        await self._bus.call(BACKGROUND_TASK_MANAGER, "CancelContinuousTask", self.id)


def _common(bus: AgentBus, values: Mapping[str, Any]) -> dict[str, Any]:
    started, ends = values.get("Started"), values.get("Deadline")
    return {
        "_bus": bus,
        "id": values["Id"],
        "application": values["AppId"],
        "uid": values["Uid"],
        "pid": values["Pid"],
        "started": moment(started) if started else None,
        "ends": moment(ends) if ends else None,
        "lock": values["What"],
        "locked": values["Locked"],
    }


def live_tasks(bus: AgentBus, objects: Mapping[str, Mapping[str, Any]]) -> list[TaskInfo | DelayInfo]:
    """Pick the tasks out of all objects: continuous ones first, by id."""
    found: list[TaskInfo | DelayInfo] = []
    for interfaces in objects.values():
        if CONTINUOUS_TASK in interfaces:
            found.append(TaskInfo.of(bus, interfaces[CONTINUOUS_TASK]))
        elif TRANSIENT_TASK in interfaces:
            found.append(DelayInfo.of(bus, interfaces[TRANSIENT_TASK]))
    return sorted(found, key=lambda task: (task.kind, task.id))
