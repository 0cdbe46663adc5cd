# SPDX-License-Identifier: Apache-2.0
"""All live leases: one way in, one way out."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from missiond.agent.degraded import Degraded
from missiond.agent.keeper import LockKeeper
from missiond.agent.observer import Guard, Observer
from missiond.agent.owners import Owners
from missiond.agent.records import to_record
from missiond.core.continuous import ContinuousTask, ContinuousTasks
from missiond.core.lease import Cause, Lease
from missiond.core.quota import Usage
from missiond.core.transient import TransientTask, TransientTasks
from missiond.errors import CallerVerificationFailed, MemoryFailed
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
        self.bus_id = ""

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

        Raises CallerVerificationFailed where the owner is gone by then.
        """
        self._owners.watch(lease, self._owner_gone)
        self.put(lease)
        self.save(lease)
        await self.keeper.take(lease.key, lease.lock)
        if not self.is_live(lease):
            raise CallerVerificationFailed(f"process {lease.owner.pid} exited")
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
        except CallerVerificationFailed:
            return False
        self._guard(lease)
        return True

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
        self._owners.unwatch(lease)
        self._files.remove(lease.kind, lease.id)
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
            self._degraded.set("runtime-directory", None)

    def record_usage(self, usages: list[Usage]) -> None:
        """Write down what was used of the quota."""
        for usage in usages:
            self._journal.append(usage.app.uid, usage.app.app_id, usage.start, usage.end)
        failing = self._journal.failing or self._counters.failing
        sentence = "can't write the state directory: quotas and ids may not survive a restart"
        self._degraded.set("state-directory", sentence if failing else None)

    def _guard(self, lease: Lease) -> None:
        if self.guard is not None and isinstance(lease, ContinuousTask):
            self.guard.began(lease)

    def _owner_gone(self, lease: Lease) -> None:
        assert isinstance(lease, TransientTask | ContinuousTask)
        self.release(lease, Cause.OWNER_EXITED)
