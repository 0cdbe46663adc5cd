# SPDX-License-Identifier: Apache-2.0
"""All live leases: one way in, one way out."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from missiond.agent.degraded import Degraded
from missiond.agent.keeper import LockKeeper
from missiond.agent.observer import Guard, Observer, Reviver
from missiond.agent.owners import Owners
from missiond.agent.records import to_record
from missiond.core.continuous import ContinuousTask, ContinuousTasks
from missiond.core.lease import Cause, Lease
from missiond.core.owner import Owner
from missiond.core.quota import Usage
from missiond.core.transient import TransientTask, TransientTasks
from missiond.errors import (
    AgentError,
    CallerVerificationFailed,
    ContinuousTaskVerificationFailed,
    MemoryFailed,
    TransientTaskVerificationFailed,
)
from missiond.state.counters import Counters
from missiond.state.lease_files import LeaseFiles
from missiond.state.usage_journal import UsageJournal

_LOGGER = logging.getLogger(__name__)


class Leases:
    """Keeps table, state file, lock, owner watch and bus object of every lease in step."""

    def __init__(
        self,
        transient: TransientTasks,
        continuous: ContinuousTasks,
        keeper: LockKeeper,
        owners: Owners,
        files: LeaseFiles,
        counters: Counters,
        journal: UsageJournal,
        degraded: Degraded,
        max_tasks: int,
    ) -> None:
        self.transient = transient
        self.continuous = continuous
        self.keeper = keeper
        self._owners = owners
        self._files = files
        self._counters = counters
        self._journal = journal
        self._degraded = degraded
        self.max_tasks = max_tasks
        self.observer: Observer | None = None
        self.guard: Guard | None = None
        self.reviver: Reviver | None = None
        self.bus_id = ""
        self._enlisting: dict[str, Cause | None] = {}
        self._left_over: set[tuple[str, int]] = set()

    def __iter__(self) -> Iterator[TransientTask | ContinuousTask]:
        yield from self.transient
        yield from self.continuous

    def __len__(self) -> int:
        return len(self.transient) + len(self.continuous)

    def is_live(self, lease: Lease) -> bool:
        """Whether the lease has not ended."""
        return lease.id in (self.transient if lease.kind == TransientTask.kind else self.continuous)

    def next_id(self, kind: str) -> int:
        """An id for a new lease; raises MemoryFailed where the host has all that it can hold."""
        if len(self) >= self.max_tasks:
            raise MemoryFailed(
                f"{self.max_tasks} tasks are live on this host, which is the most; try again later"
            )
        table = self.transient if kind == TransientTask.kind else self.continuous
        return self._counters.next(kind, table.__contains__)

    async def enlist(self, lease: TransientTask | ContinuousTask) -> None:
        """Make the lease live; returns once its lock is held (or can't be had now).

        Raises CallerVerificationFailed where the owner is gone by then, and the kind's VerificationFailed
        where something else ended it meanwhile. Cancelled, it leaves nothing: nobody was told of the lease.
        """
        self._owners.watch(lease, self._owner_gone)
        self.put(lease)
        self.save(lease)
        self._enlisting[lease.key] = None
        try:
            await self.keeper.take(lease.key, lease.lock)
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

    def put(self, lease: TransientTask | ContinuousTask) -> None:
        """Into its table."""
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

    def find(self, key: str) -> TransientTask | ContinuousTask | None:
        """The live lease with this key."""
        kind, _, number = key.rpartition("-")
        table = self.transient if kind == TransientTask.kind else self.continuous
        return table.get(int(number))

    def release(self, lease: TransientTask | ContinuousTask, cause: Cause) -> None:
        """The one way out: nothing of the lease is left, and everybody knows why."""
        if isinstance(lease, TransientTask):
            self.record_usage([self.transient.remove(lease)])
        else:
            self.continuous.remove(lease)
            if self.guard is not None:
                self.guard.ended(lease)
            if self.reviver is not None:
                self.reviver.ended(lease)
        if lease.key in self._enlisting:
            self._enlisting[lease.key] = cause
        self._owners.unwatch(lease)
        self.forget(lease.kind, lease.id)
        self.keeper.release(lease.key)
        _LOGGER.debug("%s of pid %d ended: %s", lease.key, lease.owner.pid, cause.value)
        if self.observer is not None:
            self.observer.ended(lease, cause)

    def save(self, lease: Lease) -> None:
        """Write the lease down, for the next run of the agent."""
        try:
            self._files.save(lease.kind, lease.id, to_record(lease) | {"bus": self.bus_id})
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
            self._files.remove(kind, lease_id)
        except OSError as error:
            self._left_over.add((kind, lease_id))
            sentence = f"can't write the runtime directory ({error.strerror}): tasks won't survive a restart"
            self._degraded.set("runtime-directory", sentence)
        else:
            self._left_over.discard((kind, lease_id))

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
