# SPDX-License-Identifier: Apache-2.0
"""All live leases: one way in, one way out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from missiond.common.background_work import BackgroundWork
from missiond.common.backoff import Backoff
from missiond.core.tasks.continuous import ContinuousTask, ContinuousTasks
from missiond.core.tasks.lease import Cause, Lease, LeaseTable
from missiond.core.tasks.owner import Owner
from missiond.core.tasks.quota import Usage
from missiond.core.tasks.shares import Shares
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask, TransientTasks
from missiond.daemon.keepalive.shortfalls import PARTS
from missiond.daemon.shortage import Shortage
from missiond.daemon.tasks.events import LeaseObserver
from missiond.daemon.tasks.inhibitors import InhibitorManager
from missiond.daemon.tasks.lease_codec import SavedLease, lease_store
from missiond.daemon.tasks.owners import Owners
from missiond.degraded import Degraded
from missiond.errors import AgentError, CallerVerificationFailed, MemoryFailed
from missiond.host.clocks.boottime import boot
from missiond.store.counters import Counters
from missiond.store.quota_usage import UsageJournal
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)

SAVE_AGAIN, LONGEST_PAUSE = 5.0, 60.0
"""Seconds until failed writes are tried again; the pauses double."""


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
        bus_id: str,
        person_of: Callable[[int], int] = lambda uid: uid,
    ) -> None:
        """Start without leases; `bus_id` is the id of the served bus: names on other buses mean nothing."""
        self.transient = transient
        self.continuous = continuous
        self._tables: dict[str, LeaseTable[Any]] = {
            TransientTask.kind: transient,
            ContinuousTask.kind: continuous,
        }
        self.keeper = keeper
        keeper.on_change(self._lock_changed)
        self._owners = owners
        self.records = {kind: lease_store(files, kind) for kind in (TransientTask.kind, ContinuousTask.kind)}
        self._counters = counters
        self._journal = journal
        self._degraded = degraded
        self.shares = shares
        """Of all tasks together, by person."""
        self._person_of = person_of
        self._shortage = Shortage(degraded, "tasks")
        self._observers: list[LeaseObserver] = []
        self._bus_id = bus_id
        self._live: dict[str, Lease] = {}
        """By key."""
        self._enlisting: dict[str, Cause | None] = {}
        self._left_over: set[tuple[str, int]] = set()
        self._unsaved: dict[str, Lease] = {}
        """Leases whose last change is not on disk, by key."""
        self._save_again = Backoff(SAVE_AGAIN, LONGEST_PAUSE)
        self._activating = BackgroundWork(_LOGGER, "telling that a task is active")

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def subscribe(self, observer: LeaseObserver) -> None:
        """Tell an observer of leases from now on, after earlier observers."""
        self._observers.append(observer)

    def changed(self, lease: Lease, *properties: str) -> None:
        """Tell of new values of the properties of a lease's object."""
        for observer in self._observers:
            observer.changed(lease, *properties)

    def expiring(self, task: TransientTask, remaining: int) -> None:
        """Tell of the end of a task in `remaining` ms."""
        for observer in self._observers:
            observer.expiring(task, remaining)

    def is_live(self, lease: Lease) -> bool:
        """Whether the lease has not ended."""
        return lease.key in self._live

    def next_id(self, kind: str, uid: int) -> int:
        """Return an id for a new lease of a user; raises MemoryFailed without room on the host."""
        person = self._person_of(uid)
        if not self.shares.has_room(person):
            raise MemoryFailed(
                f"{len(self.shares)} of {self.shares.most} tasks are live on this host, "
                f"{self.shares.of(person)} of them this user's, and what is left is kept for others; "
                "end some first, or see MaxTasks= in missiond.conf(5)"
            )
        return self._counters.next(kind, self._tables[kind].__contains__)

    async def enlist(self, lease: Lease) -> None:
        """Make a lease live, and return once the lock is held or can't be had now.

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
        for observer in self._observers:
            observer.watched(lease)
        self._added(lease)

    async def hold(self, lease: Lease) -> None:
        """Hold the lock of a lease, as `InhibitorManager.take` does; none while suspended."""
        if not lease.suspended:
            await self.keeper.take(lease.key, lease.lock)

    def is_starting(self, lease: Lease) -> bool:
        """Whether nobody was told of the lease yet."""
        return lease.key in self._enlisting

    def suspend(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """Suspend a task: take the lock and nothing else; `message` is a sentence for listeners.

        Nothing happens where it is suspended for this reason already. It has its lock again when each reason
        was taken back with `activate`, also after a restart of the agent.
        """
        if reason in task.suspensions:
            return
        task.suspensions += (reason,)
        task.activating = False
        self._activating.cancel(task.key)
        self.save(task)
        self.keeper.release(task.key)
        _LOGGER.info("%s of pid %d is suspended: %s", task.key, task.owner.pid, message)
        for observer in self._observers:
            observer.suspended(task, reason, message)

    def activate(self, task: ContinuousTask, reason: SuspendReason) -> None:
        """Take back one reason of a suspension; after the last the task is locked again, and observers hear.

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
        else:
            self.changed(task, "SuspendReason")

    def go_on(self) -> None:
        """Tell of tasks activated, but not told of, by an earlier run."""
        for task in self.continuous:
            if task.activating and not task.suspended:
                self._start_activating(task)

    def put(self, lease: Lease) -> None:
        """Put a lease into the table of the kind."""
        self.shares.take(lease.key, self._person_of(lease.owner.uid))
        self._live[lease.key] = lease
        self._tables[lease.kind].add(lease)

    def resume(self, lease: Lease) -> bool:
        """Go on with a lease of an earlier run; false where the owner is gone."""
        self._added(lease)
        try:
            self._owners.watch(lease, self._owner_gone)
        except (CallerVerificationFailed, MemoryFailed) as error:
            if self._outlives_owner(lease):
                return True
            _LOGGER.info("%s is not taken up: %s", lease.key, error.text)
            return False
        for observer in self._observers:
            observer.watched(lease)
        return True

    def move(self, task: ContinuousTask, owner: Owner) -> None:
        """Give a task another owner of the same application, after the loss of the old one.

        Raises CallerVerificationFailed where that is gone as well, MemoryFailed without an fd left for it.
        """
        self._owners.unwatch(task)
        task.owner = owner
        task.restarts += 1
        self._owners.watch(task, self._owner_gone)
        self.save(task)
        self.changed(task, "Pid", "Restarts")

    def missing(self, task: ContinuousTask) -> list[str]:
        """Return parts of keep-alive not done for a task: of `oom`, `freeze`, `logout` and `restart`."""
        found = set[str]().union(*(observer.missing(task) for observer in self._observers))
        return [part for part in PARTS if part in found]

    def release(self, lease: Lease, cause: Cause, said: str = "") -> None:
        """End a lease, the only way out: nothing is left of the lease, and all observers hear the cause.

        `said` is more about the cause, for people.
        """
        self.shares.give_back(lease.key)
        del self._live[lease.key]
        self._unsaved.pop(lease.key, None)
        if used := self._tables[lease.kind].remove(lease):
            self.record_usage(used)
        self._activating.cancel(lease.key)
        if lease.key in self._enlisting:
            self._enlisting[lease.key] = cause
        self._owners.unwatch(lease)
        self.forget(lease.kind, lease.id)
        self.keeper.release(lease.key)
        _LOGGER.debug("%s of pid %d ended: %s", lease.key, lease.owner.pid, cause.value)
        for observer in self._observers:
            observer.ended(lease, cause, said)

    def save(self, lease: Lease) -> None:
        """Write the lease down, for the next run of the agent."""
        try:
            self.records[lease.kind].save(lease.id, SavedLease(lease, self._bus_id, boot.at()))
        except OSError as error:
            self._unsaved[lease.key] = lease
            self._not_written(error)
        else:
            self._unsaved.pop(lease.key, None)
            self._left_over.discard((lease.kind, lease.id))
            for kind, lease_id in list(self._left_over):
                self.forget(kind, lease_id)
            if not self._unsaved and not self._left_over:
                self._degraded.set("runtime-directory", None)

    def record_usage(self, usages: list[Usage]) -> None:
        """Write down the use of quotas."""
        for usage in usages:
            self._journal.append(usage.app.uid, usage.app.app_id, usage.start, usage.end)
        sentence = "can't write the state directory: quotas may not survive a restart"
        self._degraded.set("state-directory", sentence if self._journal.failing else None)
        sentence = "can't write the runtime directory: ids may be used again after a restart"
        self._degraded.set("counters", sentence if self._counters.failing else None)
        if self._journal.failing or self._counters.failing:
            self._save_again.later(self._write_again)

    def forget(self, kind: str, lease_id: int) -> None:
        """Delete the file of an ended lease; where not possible, at the next chance."""
        try:
            self.records[kind].remove(lease_id)
        except OSError as error:
            self._left_over.add((kind, lease_id))
            self._not_written(error)
        else:
            self._left_over.discard((kind, lease_id))

    def _not_written(self, error: OSError) -> None:
        sentence = f"can't write the runtime directory ({error.strerror}): tasks won't survive a restart"
        self._degraded.set("runtime-directory", sentence)
        self._save_again.later(self._write_again)

    def _write_again(self) -> None:
        """Write what could not be written: nothing tells when a disk has room again."""
        for kind, lease_id in list(self._left_over):
            self.forget(kind, lease_id)
        for lease in list(self._unsaved.values()):
            self.save(lease)
        if self._journal.failing:
            self._journal.mark()
        self._counters.save_again()
        self.record_usage([])
        if not self._save_again.waiting:
            self._degraded.set("runtime-directory", None)
            self._save_again.reset()

    def close(self) -> None:
        """Tell nothing more of suspended tasks."""
        self._activating.close()
        self._save_again.cancel()

    def _start_activating(self, task: ContinuousTask) -> None:
        self.keeper.want(task.key, task.lock)
        self._activating.start(self._activate(task), key=task.key)

    async def _activate(self, task: ContinuousTask) -> None:
        """Say that it is active once its lock is there (or can't be had now)."""
        await self.hold(task)
        task.activating = False
        _LOGGER.info("%s of pid %d is active again", task.key, task.owner.pid)
        for observer in self._observers:
            observer.active(task)
        self.save(task)  # after it was told: rather twice than never

    def _added(self, lease: Lease) -> None:
        for observer in self._observers:
            observer.added(lease)

    def _lock_changed(self, key: str) -> None:
        """Tell of a lock that came or went later than its lease."""
        lease = self._live.get(key)
        if lease is not None and key not in self._enlisting:
            self.changed(lease, "Locked")

    def _owner_gone(self, lease: Lease) -> None:
        # The caller of one that is being enlisted is better told that its owner is gone.
        if lease.key in self._enlisting or not self._outlives_owner(lease):
            self.release(lease, Cause.OWNER_EXITED)

    def _outlives_owner(self, lease: Lease) -> bool:
        return any(observer.outlives_owner(lease) for observer in self._observers)


def _ended_at_once(lease: Lease, cause: Cause) -> AgentError:
    """Return the error for the caller of a lease which ended before its lock was there."""
    if cause is Cause.OWNER_EXITED:
        return CallerVerificationFailed(f"process {lease.owner.pid} exited")
    return lease.refusal(f"the task ended before its lock was there ({cause.value}); ask again")
