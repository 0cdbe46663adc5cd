# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks: work of a kind, for as long as it lasts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from missiond.core.lease import Lease
from missiond.core.locks import MAX_WHO, MAX_WHY, LockSpec, What, printable
from missiond.core.modes import NO_NOTIFICATION, BackgroundMode, Modes
from missiond.core.owner import App
from missiond.core.power import PowerLevel
from missiond.errors import (
    ContinuousTaskVerificationFailed,
    InvalidParameter,
    NotificationVerificationFailed,
    NotSystemApp,
)

KEEP_ALIVE = ("protect", "restart", "none")
Key = tuple[App, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a data transfer; `value` is per cent."""

    title: str = ""
    file_name: str = ""
    value: int = 0


@dataclass(slots=True, kw_only=True)
class ContinuousTask(Lease):
    """One live task; `restarts` counts the main processes that its service has had since the first."""

    kind: ClassVar[str] = "continuous"

    context: str
    modes: Modes
    what: What
    keep_alive: str = "protect"
    title: str = ""
    text: str = ""
    notification_id: int = NO_NOTIFICATION
    suspended: bool = False
    progress: Progress = field(default_factory=Progress)
    restarts: int = 0

    @property
    def lock(self) -> LockSpec:
        """The logind lock that stands for it."""
        owner = self.owner
        who = printable(f"{owner.app.app_id} (pid {owner.pid}, uid {owner.uid})", MAX_WHO)
        items = ", ".join(mode.item for mode in self.modes)
        why = f"continuous task {self.id}: {items}" + (f" ({self.title})" if self.title else "")
        return LockSpec(self.what, who, printable(why, MAX_WHY))


def check_modes(modes: Modes, uid: int) -> None:
    """Raise NotSystemApp where a mode is for uid 0 only."""
    if BackgroundMode.WIFI_INTERACTION in modes and uid != 0:
        raise NotSystemApp("wifiInteraction is for uid 0 only; use another mode")


class ContinuousTasks:
    """The live tasks of the host, one for each (application, context)."""

    def __init__(self, max_per_user: int) -> None:
        self.max_per_user = max_per_user
        self._tasks: dict[int, ContinuousTask] = {}
        self._by_key: dict[Key, ContinuousTask] = {}
        self._of_user: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[ContinuousTask]:
        return iter(list(self._tasks.values()))

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._tasks

    def get(self, task_id: int) -> ContinuousTask | None:
        """A live task by id."""
        return self._tasks.get(task_id)

    def admit(self, app: App, context: str, level: PowerLevel) -> None:
        """Raise ContinuousTaskVerificationFailed where such a task can't start now."""
        if level is PowerLevel.CRITICAL:
            raise ContinuousTaskVerificationFailed("the battery is critical; start again on external power")
        if (app, context) in self._by_key:
            raise ContinuousTaskVerificationFailed(
                "this application has such a task; update or stop it, or use another context"
            )
        if app.uid != 0 and self._of_user.get(app.uid, 0) >= self.max_per_user:
            raise ContinuousTaskVerificationFailed(
                f"this user has {self.max_per_user} continuous tasks, which is the most; stop some first"
            )

    def add(self, task: ContinuousTask) -> None:
        """Make the task live."""
        self._tasks[task.id] = task
        self._by_key[task.owner.app, task.context] = task
        self._of_user[task.owner.uid] = self._of_user.get(task.owner.uid, 0) + 1

    def remove(self, task: ContinuousTask) -> None:
        """Take the task out."""
        del self._tasks[task.id]
        del self._by_key[task.owner.app, task.context]
        self._of_user[task.owner.uid] -= 1
        if not self._of_user[task.owner.uid]:
            del self._of_user[task.owner.uid]

    def started(self, app: App, context: str) -> ContinuousTask:
        """The application's task of that context; raises ContinuousTaskVerificationFailed without one."""
        task = self._by_key.get((app, context))
        if task is None:
            raise ContinuousTaskVerificationFailed(
                "this application started no such task; start one, or name its context and pid"
            )
        return task

    def find(self, task_id: int) -> ContinuousTask:
        """A live task by id; raises InvalidParameter for 0, ContinuousTaskVerificationFailed without one."""
        if task_id == 0:
            raise InvalidParameter("continuous_task_id starts at 1")
        task = self._tasks.get(task_id)
        if task is None:
            raise ContinuousTaskVerificationFailed(f"no live continuous task {task_id}")
        return task

    def visible_to(self, uid: int, *, suspended: bool) -> list[ContinuousTask]:
        """Tasks of this user (of every user for uid 0), suspended ones where asked for."""
        return [
            task
            for task in self._tasks.values()
            if uid in (0, task.owner.uid) and (suspended or not task.suspended)
        ]


def set_progress(task: ContinuousTask, progress: Progress) -> None:
    """Note how far a transfer is.

    Raises InvalidParameter for a value over 100, NotificationVerificationFailed where it is no transfer.
    """
    if progress.value > 100:
        raise InvalidParameter("value is per cent, 0 to 100")
    if BackgroundMode.DATA_TRANSFER not in task.modes:
        raise NotificationVerificationFailed(
            f"task {task.id} is no data transfer; start it with dataTransfer"
        )
    task.progress = progress
