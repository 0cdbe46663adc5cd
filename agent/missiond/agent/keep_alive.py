# SPDX-License-Identifier: Apache-2.0
"""Keep-alive: what is done to the processes that own continuous tasks, and undone after."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Container, Coroutine, Sequence
from typing import Any, Protocol

from missiond.agent.degraded import Degraded
from missiond.agent.protection_files import Guarded, ProtectionFiles
from missiond.core.continuous import ContinuousTask
from missiond.core.protection import Change, Key, Protections, Seen
from missiond.helper.requests import Adjust, Request
from missiond.host.freezer import FreezeWatch, thawing
from missiond.host.privileged import HelperMissing
from missiond.host.process_tree import Member, around, look, tree_of, unit_cgroup

_LOGGER = logging.getLogger(__name__)
_ROUNDS = 5
"""A process that forks between look and change leaves a child that is not lowered: look again."""

_GONE = ("ESRCH", "ENOENT")
_TICKS = os.sysconf("SC_CLK_TCK")
_INIT = 1
"""Nobody has to protect it, and every process descends from it."""


class Privileged(Protocol):
    """The helper, as far as it is needed here."""

    stay: bool

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """For each "" where it was done, else why not; raises HelperMissing."""
        ...

    async def prepare(self) -> None:
        """Have it run; raises HelperMissing."""
        ...

    def close(self) -> None:
        """Leave it."""
        ...


class KeepAlive:
    """Lowers oom_score_adj of owners and what belongs to them, and thaws them when they are frozen.

    One thing is done after the other, in the order in which tasks begin and end; nobody waits for it.
    """

    def __init__(
        self,
        helper: Privileged,
        files: ProtectionFiles,
        freezer: FreezeWatch,
        degraded: Degraded,
        amount: int,
    ) -> None:
        self.amount = amount
        self._helper = helper
        self._files = files
        self._freezer = freezer
        self._degraded = degraded
        self._protections = Protections()
        self._guarded: dict[int, Guarded] = {}
        self._owed: dict[int, list[Change]] = {}
        self._turn = asyncio.Lock()
        self._work: set[asyncio.Task[None]] = set()

    def load(self) -> None:
        """Read what an earlier run left changed; `began` and `ended` of its tasks follow, then `finish`."""
        for task, guarded, rows in self._files.load():
            self._guarded[task] = guarded
            self._protections.restore(task, guarded.since, rows)

    def finish(self, live: Container[int]) -> None:
        """Undo what was done for tasks that are no more."""
        for task in [task for task in self._guarded if task not in live]:
            self._start(self._uncover(task))

    def began(self, task: ContinuousTask) -> None:
        """Protect the task's owner for as long as the task lives."""
        owner = task.owner
        if task.keep_alive == "none" or owner.pid == _INIT:
            return
        if task.id not in self._guarded:
            try:
                cgroup = look(owner.pid).cgroup
            except (OSError, ValueError):
                return
            since = int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)
            self._guarded[task.id] = Guarded(owner.pid, owner.start_ticks, cgroup, since)
        self._follow(self._guarded[task.id].cgroup)
        self._start(self._cover(task.id))

    def ended(self, task: ContinuousTask) -> None:
        """Give the owner back what it had."""
        if task.id in self._guarded:
            self._start(self._uncover(task.id))

    async def settle(self) -> None:
        """Return once all that was begun is done."""
        while self._work:
            await asyncio.wait(list(self._work))

    def close(self) -> None:
        """Stop without undoing: the next run goes on."""
        for work in self._work:
            work.cancel()
        self._freezer.close()
        self._helper.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.error("keep-alive failed", exc_info=task.exception())

    async def _cover(self, task: int) -> None:
        async with self._turn:
            guarded = self._guarded.get(task)
            if guarded is None or not self.amount:
                return
            await self._pay()
            self._protections.begin(task, guarded.since)
            refused: set[Key] = set()
            for _ in range(_ROUNDS):
                tree = [
                    seen
                    for seen in _seen(tree_of(guarded.pid, guarded.start_ticks))
                    if seen.key not in refused
                ]
                changes = self._protections.cover(task, tree, self.amount)
                # First the file, then the change: whatever happens in between can be undone.
                if not self._save(task, guarded) or not changes:
                    return
                denied = await self._change(changes)
                if denied is None:
                    return
                refused |= denied

    async def _uncover(self, task: int) -> None:
        async with self._turn:
            guarded = self._guarded.pop(task, None)
            if guarded is None:
                return
            self._unfollow(guarded.cgroup)
            if task in self._protections and self._has_another(guarded):
                self._owed[task] = self._protections.end(task, [])
                await self._pay()
            elif task in self._protections:
                for other, its in self._guarded.items():
                    if other in self._protections and _near(its.cgroup, guarded.cgroup):
                        tree = _seen(tree_of(its.pid, its.start_ticks))
                        self._protections.cover(other, tree, 0)
                        self._save(other, its)
                found = tree_of(guarded.pid, guarded.start_ticks)
                found += around(unit_cgroup(guarded.cgroup) or guarded.cgroup)
                self._owed[task] = self._protections.end(task, _seen(found))
                await self._pay()
            if not self._freezer:
                self._helper.close()

    def _has_another(self, guarded: Guarded) -> bool:
        """Whether a task of the same process goes on, so that there is nothing to look for around it."""
        owner = (guarded.pid, guarded.start_ticks)
        return any((its.pid, its.start_ticks) == owner for its in self._guarded.values())

    async def _pay(self) -> None:
        """Change back what tasks that ended still have changed."""
        for task, changes in list(self._owed.items()):
            if changes and await self._change(changes) is None:
                return
            del self._owed[task]
            try:
                self._files.remove(task)
            except OSError as error:
                _LOGGER.warning("can't remove the file of task %d: %s", task, error)

    async def _change(self, changes: list[Change]) -> set[Key] | None:
        """Have it done; which are refused, None where the helper can't be reached."""
        requests = [Adjust(each.pid, each.start_ticks, each.before, each.after) for each in changes]
        answers = await self._ask(requests)
        if answers is None:
            return None
        refused: dict[Key, str] = {}
        for change, answer in zip(changes, answers, strict=True):
            if answer:
                self._protections.give_up(change.key)
            if answer not in ("", "EAGAIN", *_GONE):
                refused[change.key] = f"{change.pid} ({answer})"
        if refused:
            listed = ", ".join(sorted(refused.values())[:10])
            _LOGGER.info("oom_score_adj stays as it is for process %s", listed)
        return set(refused)

    def _save(self, task: int, guarded: Guarded) -> bool:
        """Write it down; false where that failed, and nothing may be changed."""
        try:
            self._files.save(task, guarded, self._protections.record(task))
        except (OSError, ValueError) as error:
            _LOGGER.warning("task %d is not protected, since that can't be written down: %s", task, error)
            return False
        return True

    def _follow(self, cgroup: str) -> None:
        """Thaw it whenever it is frozen."""
        if not cgroup.startswith("user.slice/"):
            return
        try:
            self._freezer.watch(cgroup)
        except OSError as error:
            _LOGGER.debug("can't watch %s: %s", cgroup, error)
            return
        if not self._helper.stay:
            # Starting it takes longer than a frozen process should wait.
            self._helper.stay = True
            self._start(self._prepare())

    def _unfollow(self, cgroup: str) -> None:
        self._freezer.unwatch(cgroup)
        if not self._freezer:
            self._helper.stay = False

    async def _prepare(self) -> None:
        try:
            await self._helper.prepare()
        except HelperMissing as error:
            self._missing(error)

    def frozen(self, cgroup: str) -> None:
        """It was frozen: let it go on."""
        requests = thawing(cgroup)
        if requests:
            self._start(self._thaw(cgroup, requests))

    async def _thaw(self, cgroup: str, requests: Sequence[Request]) -> None:
        answers = await self._ask(requests)
        if answers is not None:
            said = "thawed" if not any(answers) else f"could not thaw ({', '.join(filter(None, answers))})"
            _LOGGER.info("%s %s, where a continuous task runs", said, cgroup)

    async def _ask(self, requests: Sequence[Request]) -> list[str] | None:
        try:
            answers = await self._helper.ask(requests)
        except HelperMissing as error:
            self._missing(error)
            return None
        self._degraded.set("helper", None)
        return answers

    def _missing(self, error: HelperMissing) -> None:
        sentence = f"no missiond-helper ({error}): processes of continuous tasks are not protected"
        self._degraded.set("helper", sentence)


def _seen(members: list[Member]) -> list[Seen]:
    return [Seen(member.pid, member.start_ticks, member.score) for member in members]


def _near(one: str, other: str) -> bool:
    """Whether one cgroup is the other, or in it."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
