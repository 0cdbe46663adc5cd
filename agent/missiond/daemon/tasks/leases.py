# SPDX-License-Identifier: Apache-2.0
"""All live leases: one way in, one way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from missiond.core.tasks.continuous import ContinuousTask, ContinuousTasks
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.owner import Owner
from missiond.core.tasks.quota import Usage
from missiond.core.tasks.shares import Shares
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask, TransientTasks
from missiond.daemon.keepalive.shortfalls import PARTS
from missiond.daemon.shortage import Shortage
from missiond.daemon.tasks.events import Guard, Observer, Reviver
from missiond.daemon.tasks.inhibitors import InhibitorManager
from missiond.daemon.tasks.lease_codec import SavedLease, lease_store
from missiond.daemon.tasks.owners import Owners
from missiond.degraded import Degraded
from missiond.errors import (
    AgentError,
    CallerVerificationFailed,
    ContinuousTaskVerificationFailed,
    MemoryFailed,
    TransientTaskVerificationFailed,
)
from missiond.host.clocks.boottime import boot
from missiond.store.counters import Counters
from missiond.store.quota_usage import UsageJournal
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)


class Leases:
    """Keeps table, state file, lock, owner watch and bus object of every lease in step."""

    def __init__(
        self,
        transient: TransientTasks,
        continuous: ContinuousTasks,
        keeper: InhibitorManager,
        owners: Owners,
        files: RecordStore,
        counters: Counters,
        journal: UsageJournal,
        degraded: Degraded,
        shares: Shares,
        person_of: Callable[[int], int] = lambda uid: uid,
    ) -> None:
        self.transient = transient
        self.continuous = continuous
        self.keeper = keeper
        self._owners = owners
        self.records = {kind: lease_store(files, kind) for kind in (TransientTask.kind, ContinuousTask.kind)}
        self._counters = counters
        self._journal = journal
        self._degraded = degraded
        self.shares = shares
        """Of all tasks together, by person."""
        self._person_of = person_of
        self._shortage = Shortage(degraded, "tasks")
        self.observer: Observer | None = None
        self.guard: Guard | None = None
        self.reviver: Reviver | None = None
        self.bus_id = ""
        self._enlisting: dict[str, Cause | None] = {}
        self._left_over: set[tuple[str, int]] = set()
        self._activating: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[TransientTask | ContinuousTask]:
        yield from self.transient
        yield from self.continuous

    def __len__(self) -> int:
        return len(self.transient) + len(self.continuous)

    def is_live(self, lease: Lease) -> bool:
        """Whether the lease has not ended."""
        return lease.id in (self.transient if lease.kind == TransientTask.kind else self.continuous)

    def next_id(self, kind: str, uid: int) -> int:
        """An id for a new lease of this user's; raises MemoryFailed where that has no room on the host."""
        person = self._person_of(uid)
        if not self.shares.has_room(person):
            raise MemoryFailed(
                f"{len(self.shares)} of {self.shares.most} tasks are live on this host, "
                f"{self.shares.of(person)} of them this user's, and what is left is kept for others; "
                "end some first, or see MaxTasks= in missiond.conf(5)"
            )
        table = self.transient if kind == TransientTask.kind else self.continuous
        return self._counters.next(kind, table.__contains__)

    async def enlist(self, lease: TransientTask | ContinuousTask) -> None:
        """Make the lease live; returns once its lock is held (or can't be had now).

        Raises CallerVerificationFailed where the owner is gone by then, and the kind's VerificationFailed
        where something else ended it meanwhile. Cancelled, it leaves nothing: nobody was told of the lease.
        """
        try:
            self._owners.watch(lease, self._owner_gone)
        except MemoryFailed as error:
            self._shortage.failed(error.text)
            raise
        self._shortage.worked()
        self.put(lease)
        self.save(lease)
        self._enlisting[lease.key] = None
        try:
            await self.hold(lease)
        except BaseException:
            if self.is_live(lease):
                self.release(lease, Cause.CANCELLED)
            raise
        finally:
            ended = self._enlisting.pop(lease.key)
        if ended is not None:
            raise _ended_at_once(lease, ended)
        self._guard(lease)
        if self.observer is not None:
            self.observer.added(lease)

    async def hold(self, lease: TransientTask | ContinuousTask) -> None:
        """Have the lock that the lease asks for now, as LockKeeper.take; nothing while it is suspended."""
        if not (isinstance(lease, ContinuousTask) and lease.suspended):
            await self.keeper.take(lease.key, lease.lock)

    def is_starting(self, lease: Lease) -> bool:
        """Whether nobody was told of the lease yet."""
        return lease.key in self._enlisting

    def suspend(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """Take the lock from the task, and nothing else; `message` is a sentence for those who listen.

        Nothing happens where it is suspended for this reason already. It has its lock again when each reason
        was taken back with `activate`, also after a restart of the agent.
        """
        if reason in task.suspensions:
            return
        task.suspensions += (reason,)
        task.activating = False
        self._stop_activating(task)
        self.save(task)
        self.keeper.release(task.key)
        _LOGGER.info("%s of pid %d is suspended: %s", task.key, task.owner.pid, message)
        if self.observer is not None:
            self.observer.suspended(task, reason, message)

    def activate(self, task: ContinuousTask, reason: SuspendReason) -> None:
        """Take back one reason; after the last the task has its lock again, and then that is told.

        It is told by the next run of the agent where this one ends before that.
        Nothing happens where it is not suspended for this reason.
        """
        if reason not in task.suspensions:
            return
        task.suspensions = tuple(each for each in task.suspensions if each is not reason)
        task.activating = not task.suspended
        self.save(task)
        if task.activating:
            self._start_activating(task)
        elif self.observer is not None:
            self.observer.changed(task, "SuspendReason")

    def go_on(self) -> None:
        """Tell of the tasks that an earlier run of the agent made active, but told nobody of."""
        for task in self.continuous:
            if task.activating and not task.suspended:
                self._start_activating(task)

    def put(self, lease: TransientTask | ContinuousTask) -> None:
        """Into its table."""
        self.shares.take(lease.key, self._person_of(lease.owner.uid))
        if isinstance(lease, TransientTask):
            self.transient.add(lease)
        else:
            self.continuous.add(lease)

    def resume(self, lease: TransientTask | ContinuousTask) -> bool:
        """Go on with a lease of an earlier run that is in its table; false where its owner is gone."""
        if self.observer is not None:
            self.observer.added(lease)
        try:
            self._owners.watch(lease, self._owner_gone)
        except (CallerVerificationFailed, MemoryFailed) as error:
            if self._revived(lease):
                return True
            _LOGGER.info("%s is not taken up: %s", lease.key, error.text)
            return False
        self._guard(lease)
        return True

    def move(self, task: ContinuousTask, owner: Owner) -> None:
        """Give a task whose owner is gone another one, of the same application.

        Raises CallerVerificationFailed where that is gone as well, MemoryFailed without an fd left for it.
        """
        self._owners.unwatch(task)
        task.owner = owner
        task.restarts += 1
        self._owners.watch(task, self._owner_gone)
        self.save(task)
        if self.observer is not None:
            self.observer.changed(task, "Pid", "Restarts")

    def missing(self, task: ContinuousTask) -> list[str]:
        """Parts of keep-alive that could not be done: of `oom`, `freeze`, `logout` and `restart`."""
        keepers = [keeper for keeper in (self.guard, self.reviver) if keeper is not None]
        found = set[str]().union(*(keeper.missing(task) for keeper in keepers))
        return [part for part in PARTS if part in found]

    def find(self, key: str) -> TransientTask | ContinuousTask | None:
        """The live lease with this key."""
        kind, _, number = key.rpartition("-")
        table = self.transient if kind == TransientTask.kind else self.continuous
        return table.get(int(number))

    def release(self, lease: TransientTask | ContinuousTask, cause: Cause) -> None:
        """The one way out: nothing of the lease is left, and everybody knows why."""
        self.shares.give_back(lease.key)
        if isinstance(lease, TransientTask):
            self.record_usage([self.transient.remove(lease)])
        else:
            self.continuous.remove(lease)
            self._stop_activating(lease)
            if self.reviver is not None:
                self.reviver.ended(lease)
            if self.guard is not None:
                self.guard.ended(lease)
        if lease.key in self._enlisting:
            self._enlisting[lease.key] = cause
        self._owners.unwatch(lease)
        self.forget(lease.kind, lease.id)
        self.keeper.release(lease.key)
        _LOGGER.debug("%s of pid %d ended: %s", lease.key, lease.owner.pid, cause.value)
        if self.observer is not None:
            self.observer.ended(lease, cause)

    def save(self, lease: TransientTask | ContinuousTask) -> None:
        """Write the lease down, for the next run of the agent."""
        try:
            self.records[lease.kind].save(lease.id, SavedLease(lease, self.bus_id, boot.at()))
        except OSError as error:
            sentence = f"can't write the runtime directory ({error.strerror}): tasks won't survive a restart"
            self._degraded.set("runtime-directory", sentence)
        else:
            self._left_over.discard((lease.kind, lease.id))
            self._degraded.set("runtime-directory", None)
            for kind, lease_id in list(self._left_over):
                self.forget(kind, lease_id)

    def record_usage(self, usages: list[Usage]) -> None:
        """Write down what was used of the quota."""
        for usage in usages:
            self._journal.append(usage.app.uid, usage.app.app_id, usage.start, usage.end)
        sentence = "can't write the state directory: quotas may not survive a restart"
        self._degraded.set("state-directory", sentence if self._journal.failing else None)
        sentence = "can't write the runtime directory: ids may be used again after a restart"
        self._degraded.set("counters", sentence if self._counters.failing else None)

    def forget(self, kind: str, lease_id: int) -> None:
        """Delete the file of a lease that has ended; where that fails, at the next chance."""
        try:
            self.records[kind].remove(lease_id)
        except OSError as error:
            self._left_over.add((kind, lease_id))
            sentence = f"can't write the runtime directory ({error.strerror}): tasks won't survive a restart"
            self._degraded.set("runtime-directory", sentence)
        else:
            self._left_over.discard((kind, lease_id))

    def close(self) -> None:
        """Tell nothing more of tasks that are being activated."""
        for work in self._activating.values():
            work.cancel()
        self._activating.clear()

    def _start_activating(self, task: ContinuousTask) -> None:
        self.keeper.want(task.key, task.lock)
        self._activating[task.key] = asyncio.get_running_loop().create_task(self._activate(task))

    async def _activate(self, task: ContinuousTask) -> None:
        """Say that it is active once its lock is there (or can't be had now)."""
        await self.hold(task)
        del self._activating[task.key]
        task.activating = False
        _LOGGER.info("%s of pid %d is active again", task.key, task.owner.pid)
        if self.observer is not None:
            self.observer.active(task)
        self.save(task)  # after it was told: rather twice than never

    def _stop_activating(self, task: ContinuousTask) -> None:
        work = self._activating.pop(task.key, None)
        if work is not None:
            work.cancel()

    def _guard(self, lease: Lease) -> None:
        if self.guard is not None and isinstance(lease, ContinuousTask):
            self.guard.began(lease)

    def _owner_gone(self, lease: Lease) -> None:
        assert isinstance(lease, TransientTask | ContinuousTask)
        # The caller of one that is being enlisted is better told that its owner is gone.
        if lease.key in self._enlisting or not self._revived(lease):
            self.release(lease, Cause.OWNER_EXITED)

    def _revived(self, lease: Lease) -> bool:
        """Whether the task goes on without its owner, since another will follow."""
        if self.reviver is None or not isinstance(lease, ContinuousTask):
            return False
        return self.reviver.died(lease)


def _ended_at_once(lease: Lease, cause: Cause) -> AgentError:
    """What to tell a caller whose lease ended before its lock was there."""
    if cause is Cause.OWNER_EXITED:
        return CallerVerificationFailed(f"process {lease.owner.pid} exited")
    text = f"the task ended before its lock was there ({cause.value}); ask again"
    if lease.kind == TransientTask.kind:
        return TransientTaskVerificationFailed(text)
    return ContinuousTaskVerificationFailed(text)
