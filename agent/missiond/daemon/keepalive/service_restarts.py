# SPDX-License-Identifier: Apache-2.0
"""Tasks of services with restarts by systemd: the tasks continue with each new main process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from missiond.common.background_work import BackgroundWork
from missiond.common.clock import Clock
from missiond.core.keepalive.service_restart import Ends, RestartedService, ServiceState, refusal, successor
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.owner import Owner
from missiond.daemon.keepalive.keep_alive import KeepAlive
from missiond.daemon.keepalive.restart_store import Kept, RestartStore, is_drop_in_gone
from missiond.daemon.keepalive.restart_waiter import RestartWaiter, Watched
from missiond.daemon.keepalive.units_reach import UnitsReach
from missiond.daemon.tasks.events import LeaseObserver
from missiond.daemon.tasks.leases import Leases
from missiond.degraded import Degraded
from missiond.errors import (
    AgentError,
    CallerVerificationFailed,
    ContinuousTaskVerificationFailed,
    InvalidParameter,
    MemoryFailed,
    SystemServiceFailed,
)
from missiond.host.processes.processes import inspect
from missiond.host.processes.tree import look
from missiond.host.systemd.unit_changes import Following
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered, UnitManagers, service_of

_LOGGER = logging.getLogger(__name__)

SETTLE = 60.0
"""Seconds to wait for the end of work on an old main process before work on the new one."""

PATIENCE = 5.0
"""Seconds for the subscription to the service, where one is needed; a task waits no longer."""

PAUSE = 1.0
"""Seconds between two reloads of the system's manager, to keep the manager free."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A service fit for restarts, and the main process as the owner of a task."""

    owner: Owner
    kept: Kept


@dataclass(slots=True)
class Limit:
    """More than `most` ends within `period` ms are a crash loop, however slow."""

    most: int
    period: int


class ServiceRestarts(LeaseObserver):
    """Services kept running by systemd's own means while there are tasks, and followed by process.

    What is done to a manager is written down first, so that a later run of the agent can undo it.
    """

    def __init__(
        self,
        managers: UnitManagers,
        files: RestartStore,
        leases: Leases,
        degraded: Degraded,
        clock: Clock,
        limit: Limit,
        keep_alive: KeepAlive | None,
    ) -> None:
        self._limit = limit
        self._keep_alive = keep_alive
        self._managers = managers
        self._files = files
        self._leases = leases
        leases.subscribe(self)
        self._reach = UnitsReach(managers.path, degraded, self._undo_owed)
        self._clock = clock
        self._kept: dict[int, Kept] = {}
        self._owed: dict[int, Kept] = {}
        self._in_force: set[tuple[int | None, str]] = set()
        self._ends: dict[int, Ends] = {}
        self._turns: dict[int | None, asyncio.Lock] = {}
        self._lost: list[ContinuousTask] | None = []
        self._waiting: dict[int, asyncio.Task[None]] = {}
        self._followed: dict[int, Following] = {}
        """Services that would be forgotten when they fail: it has to be heard when it happens."""
        self._work, self._waits = (BackgroundWork(_LOGGER, "keep-alive restart") for _ in range(2))
        self._unheard: set[int] = set()
        """Tasks whose service is down, with nobody who tells whether it is started again."""

    def configure(self, limit: Limit) -> None:
        """Put another limit in force."""
        self._limit = limit

    def load(self) -> None:
        """Read the records of an earlier run; `finish` follows once the tasks are live again."""
        self._kept = self._files.load()

    def finish(self, live: Container[int]) -> None:
        """Undo the changes for tasks of the past, and look for the owners of live ones."""
        for task in [task for task in self._kept if task not in live]:
            self._let_go(task)
        for task, kept in self._kept.items():
            self._follow(task, kept)
            if kept.changed and (kept.undone or is_drop_in_gone(kept.service)):
                self._work.start(self._keep_again(task, kept))
        lost, self._lost = self._lost or [], None
        for each in lost:
            if self._leases.is_live(each):
                self.outlives_owner(each)

    async def claim(self, owner: Owner) -> Claim:
        """Return the owner's service, to be kept running; nothing is changed yet.

        Raises InvalidParameter where it is in none, ContinuousTaskVerificationFailed where the service is
        none to keep running, CallerVerificationFailed where it has just ended, SystemServiceFailed.
        """
        service = _service(owner)
        state = await self._asked(service, self._managers.show(service))
        if text := refusal(service, state):
            raise ContinuousTaskVerificationFailed(text)
        try:
            process = inspect(state.main_pid)
        except ProcessLookupError:
            raise CallerVerificationFailed(f"{service.name} has just ended; ask again") from None
        except OSError as error:
            raise MemoryFailed(f"the agent can't look at another process: {error.strerror}") from error
        if process.uid != owner.uid:
            text = f"the main process of {service.name} is another user's; use keep-alive protect"
            raise ContinuousTaskVerificationFailed(text)
        # Restart= may be what was written for another task, and is about to be taken back.
        changed = state.restart == "no" or state.collects
        changed = changed or _is_in(service, self._kept) or _is_in(service, self._owed)
        kept = Kept(service, changed, state.collects)
        return Claim(successor(owner, process.pid, process.start_ticks), kept)

    async def begin(self, task: ContinuousTask, claim: Claim) -> None:
        """Keep the service running until `ended`, a call needed in any case.

        Raises ContinuousTaskVerificationFailed and SystemServiceFailed.
        """
        kept = claim.kept
        self._write(task.id, kept)
        if kept.changed:
            async with self._turn(kept.service):
                if kept.service.key not in self._in_force:
                    state = await self._asked(kept.service, self._managers.keep(kept.service))
                    self._in_force.add(kept.service.key)
                    if kept.forgotten and not state.collects and task.id in self._kept:
                        kept = replace(kept, forgotten=False)
                        self._write(task.id, kept)
        self._follow(task.id, kept)
        if task.id in self._followed:
            await self._followed[task.id].begun(PATIENCE)
        self._undo_owed()

    def _undo_owed(self) -> None:
        for owed in self._owed:
            self._work.start(self._undo(owed))

    async def _keep_again(self, task: int, kept: Kept) -> None:
        """Have a service kept running that was given back while the agent did not run."""
        async with self._turn(kept.service):
            if self._kept.get(task) is not kept:
                return
            try:
                if kept.service.key not in self._in_force:
                    await self._asked(kept.service, self._managers.keep(kept.service))
                    self._in_force.add(kept.service.key)
                self._write(task, replace(kept, undone=False))
            except AgentError as error:
                _LOGGER.warning("%s is not kept running: %s", kept.service.name, error.text)

    def _write(self, task: int, kept: Kept) -> None:
        """Note it; raises SystemServiceFailed."""
        self._kept[task] = kept
        try:
            self._files.save(task, kept)
        except OSError as error:
            text = f"can't write the runtime directory ({error.strerror}); free some space, and ask again"
            raise SystemServiceFailed(text) from error

    def _follow(self, task: int, kept: Kept) -> None:
        if kept.forgotten and task in self._kept and task not in self._followed:
            self._followed[task] = self._managers.follow(kept.service)

    def outlives_owner(self, lease: Lease) -> bool:
        """Wait for the service to have another main process; false where there is none to wait for."""
        if not isinstance(lease, ContinuousTask) or lease.id not in self._kept:
            return False
        task = lease
        if self._lost is not None:
            self._lost.append(task)
        elif task.id not in self._waiting:
            if self._keep_alive is not None:
                self._keep_alive.let_go(task)
            waiting = self._waits.start(self._wait(task, self._kept[task.id].service))
            self._waiting[task.id] = waiting
            waiting.add_done_callback(partial(self._waited, task))
        return True

    def users(self) -> set[int]:
        """Return the users with service managers told to keep services running for tasks."""
        return {kept.service.manager for kept in self._kept.values() if kept.service.manager is not None}

    def missing(self, task: ContinuousTask) -> set[str]:
        """Return `restart` while the service is down, and nobody can tell of a restart."""
        return {"restart"} if task.id in self._unheard else set()

    def ended(self, lease: Lease, cause: Cause, said: str = "") -> None:
        """Stop keeping the service running."""
        if isinstance(lease, ContinuousTask):
            self.let_go(lease)

    def let_go(self, task: ContinuousTask) -> None:
        """Stop keeping the service running; more than once does no harm."""
        self._unheard.discard(task.id)
        self._ends.pop(task.id, None)
        if (waiting := self._waiting.pop(task.id, None)) is not None:
            waiting.cancel()
        if task.id in self._kept:
            self._let_go(task.id)

    async def settle(self) -> None:
        """Return once nothing is being undone."""
        await self._work.closed()

    def close(self) -> None:
        """Stop without undoing: the next run goes on."""
        self._reach.close()
        self._work.close()
        self._waits.close()
        for following in self._followed.values():
            following.close()
        self._followed.clear()

    async def _wait(self, task: ContinuousTask, service: RestartedService) -> None:
        """Until the service has another main process, or no more."""
        now = self._clock.now()
        if self._ends.setdefault(task.id, Ends()).note(now, self._limit.most, self._limit.period):
            said = f"ended more than {self._limit.most} times in {self._limit.period // 1000} s, a crash loop"
            self._end(task, service, Cause.RESTART_FAILED, said)
            return
        revival = RestartWaiter(self._managers, self._reach, self._clock, partial(self._lacks, task))
        found = await revival.wait(Watched(service, task.owner, self._followed.get(task.id)))
        if isinstance(found, Owner):
            self._move(task, service, found)
        else:
            self._end(task, service, found.cause, found.said)

    def _lacks(self, task: ContinuousTask, missing: bool) -> None:
        if missing != (task.id in self._unheard):
            (self._unheard.add if missing else self._unheard.discard)(task.id)
            self._leases.changed(task, "Missing")

    def _waited(self, task: ContinuousTask, waiting: asyncio.Task[None]) -> None:
        """Let nothing be held for nobody where something unforeseen went wrong."""
        if not waiting.cancelled() and waiting.exception() is not None and self._leases.is_live(task):
            self._waiting.pop(task.id, None)
            self._leases.release(task, Cause.OWNER_EXITED)

    def _move(self, task: ContinuousTask, service: RestartedService, owner: Owner) -> None:
        del self._waiting[task.id]
        try:
            self._leases.move(task, owner)
        except CallerVerificationFailed:
            self.outlives_owner(task)
            return
        except MemoryFailed as error:
            self._end(task, service, Cause.RESTART_FAILED, f"runs, but can't be watched ({error.text})")
            return
        _LOGGER.info("%s goes on with process %d of %s", task.key, owner.pid, service.name)
        self._work.start(self._renew(task, owner))

    async def _renew(self, task: ContinuousTask, owner: Owner) -> None:
        """Lock and protection under the name of the new process; the old lock stays until then."""
        if not self._leases.is_live(task):
            return
        await self._leases.hold(task)
        if self._keep_alive is not None:
            await asyncio.wait([asyncio.ensure_future(self._keep_alive.settle())], timeout=SETTLE)
            if self._leases.is_live(task) and task.owner == owner and task.id not in self._waiting:
                self._keep_alive.watched(task)

    def _end(self, task: ContinuousTask, service: RestartedService, cause: Cause, said: str) -> None:
        self._waiting.pop(task.id, None)
        if cause is Cause.RESTART_FAILED:
            _LOGGER.warning("%s ends: %s %s; see %s", task.key, service.name, said, service.journal)
            said = f"the service {said}; see its journal"
        else:
            _LOGGER.info("%s ends: %s %s", task.key, service.name, said)
            said = ""
        self._leases.release(task, cause, said)

    def _let_go(self, task: int) -> None:
        kept = self._kept.pop(task)
        if (following := self._followed.pop(task, None)) is not None:
            following.close()
        if kept.changed:
            self._owed[task] = kept
            self._work.start(self._undo(task))
        else:
            self._forget(task)

    async def _undo(self, task: int) -> None:
        """Take back what was told to the manager, unless another task needs it."""
        if task not in self._owed:
            return
        service = self._owed[task].service
        async with self._turn(service):
            if task not in self._owed:
                return
            if not _is_in(service, self._kept):
                self._in_force.discard(service.key)
                try:
                    await self._managers.unkeep(service)
                except ManagersMissing as error:
                    self._reach.missing(f"no missiond-units ({error}): drop-ins of services stay")
                    return
                except NotAnswered as error:
                    if not error.gone:
                        _LOGGER.warning("can't take the drop-in of %s back: %s", service.name, error)
                    if str(error) == "ETIMEDOUT":
                        return
                if service.manager is None:
                    await asyncio.sleep(PAUSE)
            del self._owed[task]
            self._forget(task)

    async def _asked(
        self, service: RestartedService, answer: Coroutine[Any, Any, ServiceState]
    ) -> ServiceState:
        try:
            state = await answer
        except ManagersMissing as error:
            text = f"no missiond-units ({error}): services can't be kept running; use keep-alive protect"
            self._reach.missing(text)
            raise SystemServiceFailed(text) from error
        except NotAnswered as error:
            self._reach.answered()
            text = f"the manager of {service.name} does not do it ({error}); see journalctl -t missiond-units"
            if str(error) == "ENOEXEC":
                text = f"{service.name} is transient with ; or $ in its command, which systemd would spoil"
                text += "; start it with Restart=, as by systemd-run -p Restart=always"
            raise ContinuousTaskVerificationFailed(text) from error
        self._reach.answered()
        return state

    def _turn(self, service: RestartedService) -> asyncio.Lock:
        return self._turns.setdefault(service.manager, asyncio.Lock())

    def _forget(self, task: int) -> None:
        try:
            self._files.remove(task)
        except OSError as error:
            _LOGGER.warning("can't remove the file of task %d: %s", task, error)


def _is_in(service: RestartedService, changed: Mapping[int, Kept]) -> bool:
    """Whether something was changed for a task of this service."""
    return any(kept.changed and kept.service.key == service.key for kept in changed.values())


def _service(owner: Owner) -> RestartedService:
    """Return the service of a process; raises InvalidParameter, CallerVerificationFailed."""
    try:
        service = service_of(look(owner.pid).cgroup)
    except (OSError, ValueError):
        raise CallerVerificationFailed(f"process {owner.pid} exited") from None
    if service is None or service.name != owner.unit:
        text = f"keep-alive restart is for systemd services of this host, and process {owner.pid} is in none"
        raise InvalidParameter(f"{text}; use protect")
    return service
