# SPDX-License-Identifier: Apache-2.0
"""Continuous tasks, for work of a kind and any length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from missiond.common.clock import Clock
from missiond.common.deadlines import Deadlines
from missiond.core.json_types import BootTime, Count
from missiond.core.power.level import PowerLevel
from missiond.core.schema import I32, Later, Range, Words
from missiond.core.tasks.lease import Lease, LeaseTable
from missiond.core.tasks.locks import MAX_WHO, MAX_WHY, Inhibit, Locks, LockSpec, printable
from missiond.core.tasks.modes import NO_NOTIFICATION, BackgroundMode, Modes
from missiond.core.tasks.owner import App
from missiond.core.tasks.quota import Usage
from missiond.core.tasks.suspend_reason import ACTIVE, SuspendReason
from missiond.core.tasks.want import Want
from missiond.errors import (
    AgentError,
    ContinuousTaskVerificationFailed,
    InvalidParameter,
    NotificationVerificationFailed,
    NotSystemApp,
)

KEEP_ALIVE = ("protect", "restart", "none")
SHORTEST, LONGEST = 1_000, 604_800_000
"""Shortest and longest `time-out` of a task, in ms: a second to a week."""
Key = tuple[App, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a data transfer; `value` is per cent."""

    title: str = ""
    file_name: str = ""
    value: Count = 0


@dataclass(slots=True, kw_only=True)
class ContinuousTask(Lease):
    """A live task; `restarts` counts main processes of the service after the first.

    While there are `suspensions` (in the order in which they came) the task has no lock, and all else that
    it was given: id, object, protection of its owner. It is `activating` from the end of the last one
    until it was told that it is active again.
    `inhibit` is what it wants locked beside what its modes lock. It ends at `deadline`, in ms of the core's
    clock; None: never by itself. `title`, `text` and `want` are for its user and root only.
    """

    kind: ClassVar[str] = "continuous"
    refusal: ClassVar[type[AgentError]] = ContinuousTaskVerificationFailed

    context: str
    modes: Modes
    what: Locks
    keep_alive: Annotated[str, Words(KEEP_ALIVE)] = "protect"
    title: str = ""
    text: str = ""
    notification_id: Annotated[int, Range(-1, I32)] = NO_NOTIFICATION
    suspensions: Later[tuple[SuspendReason, ...]] = ()
    activating: Later[bool] = False
    progress: Progress = field(default_factory=Progress)
    restarts: Later[Count] = 0
    inhibit: Later[Inhibit] = ()
    deadline: Later[BootTime | None] = None
    want: Later[Want | None] = None

    @property
    def suspended(self) -> bool:
        """Whether the task has no lock for now."""
        return bool(self.suspensions)

    @property
    def suspend_reason(self) -> int:
        """The oldest SuspendReason in force, 0 for an active task."""
        return int(self.suspensions[0]) if self.suspensions else ACTIVE

    @property
    def lock(self) -> LockSpec:
        """The logind lock of the task."""
        owner = self.owner
        who = printable(f"{owner.app.app_id} (pid {owner.pid}, uid {owner.uid})", MAX_WHO)
        # No title: everybody may list locks.
        why = f"continuous task {self.id}: {', '.join(mode.item for mode in self.modes)}"
        return LockSpec(self.what, who, printable(why, MAX_WHY))


def check_modes(modes: Modes, uid: int) -> None:
    """Raise NotSystemApp where a mode is for uid 0 only."""
    if BackgroundMode.WIFI_INTERACTION in modes and uid != 0:
        raise NotSystemApp("wifiInteraction is for root only; use another mode")


def check_time_out(milliseconds: int) -> int:
    """Return the time-out; raises InvalidParameter out of range."""
    if not SHORTEST <= milliseconds <= LONGEST:
        raise InvalidParameter(f"time-out is from {SHORTEST} to {LONGEST} ms (a second to a week)")
    return milliseconds


class ContinuousTasks(LeaseTable[ContinuousTask]):
    """The live tasks of the host, one for each (application, context)."""

    def __init__(self, max_per_user: int, person_of: Callable[[int], int] = lambda uid: uid) -> None:
        """Make an empty table; `person_of` maps a uid to a person with perhaps thousands (subuid(5))."""
        super().__init__()
        self._max_per_user = max_per_user
        self._due = Deadlines[int]()
        self._person_of = person_of
        self._by_key: dict[Key, ContinuousTask] = {}
        self._persons: dict[int, int] = {}
        self._of_person: dict[int, set[int]] = {}

    def configure(self, max_per_user: int) -> None:
        """Let each user have so many tasks from now on."""
        self._max_per_user = max_per_user

    @property
    def suspended(self) -> int:
        """How many are suspended."""
        return sum(task.suspended for task in self._live.values())

    @property
    def waits_for_battery(self) -> bool:
        """Whether a task is suspended until the battery is better."""
        return any(SuspendReason.BATTERY_CRITICAL in task.suspensions for task in self._live.values())

    def admit(self, app: App, context: str, level: PowerLevel) -> None:
        """Raise ContinuousTaskVerificationFailed where such a task can't start now."""
        if level is PowerLevel.CRITICAL:
            raise ContinuousTaskVerificationFailed("the battery is critical; start again on external power")
        if (app, context) in self._by_key:
            raise ContinuousTaskVerificationFailed(
                "this application has such a task; update or stop it, or use another context"
            )
        if app.uid != 0 and len(self._of_person.get(self._person_of(app.uid), ())) >= self._max_per_user:
            raise ContinuousTaskVerificationFailed(
                f"this user has {self._max_per_user} continuous tasks, which is the most; stop some first"
            )

    def add(self, lease: ContinuousTask) -> None:
        """Make the task live."""
        super().add(lease)
        self._by_key[lease.owner.app, lease.context] = lease
        if lease.deadline is not None:
            self._due.set(lease.id, lease.deadline)
        person = self._persons[lease.id] = self._person_of(lease.owner.uid)
        self._of_person.setdefault(person, set()).add(lease.id)

    def remove(self, lease: ContinuousTask) -> list[Usage]:
        """Take the task out."""
        del self._by_key[lease.owner.app, lease.context]
        self._due.drop(lease.id)
        person = self._persons.pop(lease.id)
        self._of_person[person].discard(lease.id)
        if not self._of_person[person]:
            del self._of_person[person]
        return super().remove(lease)

    def next_due(self) -> int | None:
        """Return the next deadline of a task, in ms of the clock."""
        return self._due.next()

    def due(self, clock: Clock) -> list[ContinuousTask]:
        """Return tasks past the deadline."""
        return [self._live[key] for key in self._due.pop_due(clock.now())]

    def of(self, app: App, context: str) -> ContinuousTask | None:
        """Return the application's task of this context; None without one."""
        return self._by_key.get((app, context))

    def started(self, app: App, context: str) -> ContinuousTask:
        """Return the application's task of this context; raises ContinuousTaskVerificationFailed."""
        task = self.of(app, context)
        if task is None:
            raise ContinuousTaskVerificationFailed(
                "this application started no such task; start one, or name its context and pid"
            )
        return task

    def find(self, task_id: int) -> ContinuousTask:
        """Return a live task; raises InvalidParameter for 0, ContinuousTaskVerificationFailed without one."""
        if task_id == 0:
            raise InvalidParameter("continuous_task_id starts at 1")
        task = self._live.get(task_id)
        if task is None:
            raise ContinuousTaskVerificationFailed(f"no live continuous task {task_id}")
        return task

    def visible_to(self, uid: int, *, suspended: bool) -> list[ContinuousTask]:
        """Tasks of this user (of every user for uid 0), suspended ones where asked for."""
        return [
            task
            for task in self._live.values()
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
