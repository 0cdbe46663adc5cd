# SPDX-License-Identifier: Apache-2.0
"""Keep-alive: protection of the processes with continuous tasks, and the way back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from missiond.config.settings import KeepAliveSettings as Settings
from missiond.core.keepalive.oom_ledger import Protections
from missiond.core.keepalive.protected_process import ProtectedProcess
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.daemon.helper_client import HelperClient, Privileged
from missiond.daemon.keepalive.freezer_guard import FreezerGuard
from missiond.daemon.keepalive.oom_score import OomScores
from missiond.daemon.keepalive.oomd_preference import OomdPreferences
from missiond.daemon.keepalive.protected_processes import ProtectedProcesses
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.daemon.keepalive.session_end import LoginHost, SessionEnds
from missiond.daemon.keepalive.shortfalls import OOM, OOMD, Shortfalls, words
from missiond.daemon.keepalive.survivor_cgroups import SurvivorCgroups, group_of
from missiond.daemon.tasks.events import LeaseObserver
from missiond.degraded import Degraded
from missiond.host.systemd.survivor_units import KeepFailed
from missiond.host.systemd.unit_managers import UnitManagers
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds for the owner's protection; a start of a task waits no longer."""
_NEIGHBOUR = "protection"
_SLOW = "processes of continuous tasks are not protected yet: missiond-helper, logind or systemd takes long"
_INIT = 1
"""Nobody has to protect it, and every process descends from it."""


class Neighbours(NamedTuple):
    """The neighbours of keep-alive: the helper, and, for the host's own service, logind and systemd.

    `ending` sends the signals that end missions; the helper, where it is left out. `managers` thaw units.
    """

    helper: Privileged
    logins: LoginHost | None = None
    ending: Privileged | None = None
    managers: UnitManagers | None = None


class KeepAlive(LeaseObserver):
    """Protection of owners, one after the other, in the order of beginning and ending tasks.

    What several tasks of one owner ask for is done once. Who starts a task waits for it with `covered`.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        files: RecordStore,
        degraded: Degraded,
        settings: Settings,
        missing_changed: Callable[[Iterable[int]], None] = lambda _tasks: None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        """`missing_changed` gets ids of tasks, `moved` is called when processes are in another cgroup."""
        protections = Protections()
        self._degraded = degraded
        self._wards = ProtectedProcesses()
        self._files = WardFiles(files, protections)
        self._privileges = HelperClient(neighbours.helper, degraded, self.review)
        self.shortfalls = Shortfalls(self._wards, degraded, missing_changed)
        self._scores = OomScores(
            self._privileges,
            self._files,
            protections,
            self.shortfalls,
            settings.oom_score_adjust,
            self._queue,
        )
        self._marks = OomdPreferences(self._privileges, self._files, self.shortfalls, self._queue)
        self.groups = SurvivorCgroups(self._privileges, self._files, self._queue, moved)
        self._logouts = (
            None
            if neighbours.logins is None
            else SessionEnds(neighbours.logins, self.groups, self._files, self.shortfalls, self.review)
        )
        self._freezes = FreezerGuard(self._privileges, self.shortfalls, neighbours.managers, self._emptied)
        self._waiting: dict[ProtectedProcess, None] = {}
        self._looks: dict[ProtectedProcess, list[asyncio.Future[None]]] = {}
        """Who waits for the next look at a ward."""
        self._work: asyncio.Task[None] | None = None
        self._is_asked = False
        """Whether all is to be looked at again, also once the work that is under way has done that."""
        self._loading = True
        """What an earlier run holds is needed, for all that is known yet."""
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Apply settings to owners with tasks from now on."""
        self._scores.amount = settings.oom_score_adjust
        if self._logouts is not None:
            self._logouts.wanted = settings.after_logout

    async def hold_login(self, uid: int) -> None:
        """Have a user be logged in for as long as `logins_needed` says; raises KeepFailed."""
        if self._logouts is None:
            raise KeepFailed("only the host's own agent can log users in")
        await self._logouts.hold_login(uid)

    def logins_needed(self, needed: Callable[[], Iterable[int]]) -> None:
        """Set the source of users with logins held for other reasons than tasks."""
        if self._logouts is not None:
            self._logouts.needed = needed

    def logins_awaited(self, awaited: Callable[[], Iterable[int]]) -> None:
        """Set the source of users with logins held while a service is started again."""
        if self._logouts is not None:
            self._logouts.awaited = awaited

    def load(self) -> None:
        """Read the changes of an earlier run; `watched` of the tasks follows, then `finish`."""
        self._wards.take_up(self._files.load())
        if self._logouts is not None:
            self._logouts.load()

    def finish(self) -> None:
        """Undo the changes for tasks of the past; missions are known by now."""
        self._loading = False
        self.review()

    def watched(self, lease: Lease) -> None:
        """Look after the owner of a continuous task for as long as the task lives."""
        if not isinstance(lease, ContinuousTask) or lease.keep_alive == "none" or lease.owner.pid == _INIT:
            return
        ward = self._wards.join(lease)
        if ward is not None and not ward.covered:
            self._freezes.follow(ward, ward.cgroup if ward.home is None else group_of(ward))
            self._queue(ward)

    async def covered(self, task: ContinuousTask) -> None:
        """Return once the owner was looked after, well or ill, or after PATIENCE."""
        ward = self._wards.of(task)
        if ward is not None and ward in self._waiting:
            look = asyncio.get_running_loop().create_future()
            self._looks.setdefault(ward, []).append(look)
            await asyncio.wait([look], timeout=PATIENCE)
            if ward in self._looks:
                self._degraded.set(_NEIGHBOUR, _SLOW)
                self.shortfalls.lacks(ward, OOM, missing=bool(self._scores.amount))

    def missing(self, task: ContinuousTask) -> set[str]:
        """Return the missing parts of the owner's protection: `oom`, `freeze`, `logout`."""
        ward = self._wards.of(task)
        return words(ward) if ward is not None else set()

    def ended(self, lease: Lease, cause: Cause, said: str = "") -> None:
        """Let the owner of a continuous task go."""
        if isinstance(lease, ContinuousTask):
            self.let_go(lease)

    def let_go(self, task: ContinuousTask) -> None:
        """Restore the owner after the last task."""
        ward = self._wards.leave(task)
        if ward is None:
            if task.keep_alive == "restart":  # a login may be held for a service that was to be started again
                self._is_asked = True
                self._start()
        elif not ward.tasks:
            ward.covered = False
            self.shortfalls.drop(ward)
            self._freezes.unfollow(ward)
            self._queue(ward)

    def oomd_changed(self, there: bool) -> None:
        """systemd-oomd runs now, or no longer."""
        if self._marks.wanted != there:
            self._marks.wanted = there
            self.review()

    def review(self) -> None:
        """Look at all again: something on the host has changed."""
        for ward in self._wards:
            self._queue(ward)
        self._is_asked = True
        self._start()

    async def settle(self) -> None:
        """Return once all work has ended."""
        while self._work is not None:
            await asyncio.wait([self._work])

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is done to anybody, nor is to be undone."""
        return self._work is None and not self._wards

    def close(self) -> None:
        """Stop without undoing: the next run goes on."""
        self._waiting.clear()
        if self._work is not None:
            self._work.cancel()
        self._scores.close()
        self.groups.close()
        self._marks.close()
        if self._logouts is not None:
            self._logouts.close()
        self._freezes.close()
        self._privileges.close()

    def _queue(self, ward: ProtectedProcess) -> None:
        self._waiting[ward] = None
        self._start()

    def _start(self) -> None:
        if self._work is None:
            self._work = asyncio.get_running_loop().create_task(self._run())
            self._work.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work = None
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.error("keep-alive failed", exc_info=task.exception())
        elif (self._waiting or self._is_asked) and not task.cancelled():
            self._start()

    async def _run(self) -> None:
        while self._waiting:
            ward = next(iter(self._waiting))
            del self._waiting[ward]
            try:
                if ward in self._wards:
                    await self._see_to(ward)
            finally:
                if ward not in self._waiting:  # or another look follows: this one came too early for them
                    self._looked(ward)
        self._is_asked = False
        if self._logouts is not None and not self._loading:
            await self._logouts.tidy(self._wards)
        self._freezes.rest()
        if not self._waiting and not self._wards:
            self._privileges.relax()

    def _looked(self, ward: ProtectedProcess) -> None:
        for look in self._looks.pop(ward, ()):
            if not look.done():
                look.set_result(None)
        if not self._looks:
            self._degraded.set(_NEIGHBOUR, None)

    async def _see_to(self, ward: ProtectedProcess) -> None:
        if ward.tasks:
            ward.covered = await self._cover(ward)
        elif await self._uncover(ward) and not ward.tasks:
            self._wards.forget(ward)

    async def _cover(self, ward: ProtectedProcess) -> bool:
        """Whether all is done for it."""
        ready = await self._privileges.ready()
        self._freezes.helped(ward, ready=ready)
        if not ready or not await self._scores.lower(ward):
            self.shortfalls.lacks(ward, OOM, missing=bool(self._scores.amount))
            if self._logouts is not None:
                await self._logouts.without_helper(ward)
            return False
        if self._logouts is not None and not await self._logouts.hold(ward):
            return False
        if ward.home is not None and ward.tasks:
            self._freezes.follow(ward, group_of(ward))
        done = await self._marks.put(ward, self._wards.others(ward))
        if not done:
            self.shortfalls.lacks(ward, OOMD, missing=True)
        return done

    async def _uncover(self, ward: ProtectedProcess) -> bool:
        """Whether all is undone."""
        if not await self._marks.take(ward, self._wards.others(ward)):
            return False
        groups = [group_of(ward)] if ward.home is not None else []
        if not await self._scores.give_back(ward, self._wards.others(ward), groups, self._alike(ward)):
            return False
        if self._logouts is not None and not await self._logouts.let_go(ward, self._wards):
            if ward.home is not None:
                self._freezes.await_empty(group_of(ward))
            return False
        return self._files.write(ward)

    def _alike(self, ward: ProtectedProcess) -> list[ProtectedProcess]:
        """Others in the same cgroup that are to be given back too."""
        return [
            each
            for each in self._waiting
            if not each.tasks and each.home is ward.home is None and each.cgroup == ward.cgroup
        ]

    def _emptied(self, group: str) -> None:
        for ward in self._wards:
            if ward.home is not None and group_of(ward) == group:
                self._queue(ward)
