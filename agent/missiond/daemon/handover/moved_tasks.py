# SPDX-License-Identifier: Apache-2.0
"""The continuous tasks of a mission, taken along to another host.

Their locks are held before the program is started, and as tasks of that program from then on. Whatever of
them can't be had here is said, and the program runs all the same, unless all were wanted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from missiond.core.missions.missions import Mission, Sighting
from missiond.core.tasks.continuous import check_modes
from missiond.core.tasks.locks import MAX_WHO, MAX_WHY, LockSpec, parse_inhibit, printable
from missiond.core.tasks.modes import Modes, parse_modes
from missiond.core.tasks.owner import App
from missiond.daemon.tasks.continuous import CAME_ALONG, ContinuousTaskService, TaskRequest
from missiond.daemon.tasks.inhibitors import InhibitorManager
from missiond.daemon.tasks.owners import Owners
from missiond.errors import AgentError, InvalidParameter, PermissionDenied
from missiond.host.processes.stat import Stat

_LOGGER = logging.getLogger(__name__)
MOST = 64
"""Largest number of tasks of one mission to take along."""
SHORTEST = 1000
"""Least time left for a task at the other host, in ms."""
_TEXTS = ("context", "title", "text")

Members = Callable[[Sighting], tuple[list[Stat], object]]
MayLock = Callable[[str], Awaitable[bool]]
"""Whether the agent may lock this item."""


@dataclass(frozen=True, slots=True)
class MovedTask:
    """One task on the way, as first started."""

    modes: Modes
    wish: TaskRequest

    @property
    def shown(self) -> str:
        """The task in words for people."""
        items = ", ".join(mode.item for mode in self.modes)
        return printable(f"{items} {self.wish.title!r}" if self.wish.title else items, MAX_WHY)


class MovedTasks:
    """Continuous tasks of leaving missions, and of coming ones."""

    def __init__(
        self,
        running: ContinuousTaskService,
        keeper: InhibitorManager,
        owners: Owners,
        members: Members,
        may_lock: MayLock,
    ) -> None:
        self._running = running
        self._keeper = keeper
        self._owners = owners
        self._members = members
        self._may_lock = may_lock
        self._held: dict[str, list[str]] = {}

    def of(self, mission: Mission) -> list[dict[str, Any]]:
        """Describe the tasks of the mission's processes in JSON, for `parse`."""
        pids = {stat.pid for stat in self._members(mission.seen)[0]} | {mission.seen.leader.pid}
        tasks = [task for task in self._running.tasks if task.owner.pid in pids]
        return [
            {
                "modes": [mode.item for mode in task.modes],
                "keep-alive": task.keep_alive,
                "inhibit": list(task.inhibit),
                **(
                    {}
                    if (left := self._running.time_left(task)) is None
                    else {"time-out": max(left, SHORTEST)}
                ),
                **{name: getattr(task, name) for name in _TEXTS},
            }
            for task in tasks[:MOST]
        ]

    async def refused(self, tasks: Iterable[MovedTask], uid: int, app_id: str) -> list[str]:
        """List the tasks impossible here now, with the reasons, in a sentence each."""
        found = []
        for task in tasks:
            _, sentences = await self._allowed(task)
            found += sentences
            try:
                check_modes(task.modes, uid)
                self._running.check(App(uid, app_id), task.wish.context)
            except AgentError as error:
                found.append(_sentence(task, error))
        return found

    async def hold(self, transfer: str, tasks: Sequence[MovedTask], uid: int, app_id: str) -> None:
        """Hold the locks of tasks until `release`, for a program about to start."""
        held = self._held.setdefault(transfer, [])
        for number, wanted in enumerate(tasks):
            task, _ = await self._allowed(wanted)
            if await self.refused([task], uid, app_id):
                continue
            who = printable(f"{app_id or 'mission'} (uid {uid})", MAX_WHO)
            why = printable(f"continuous task that comes from another host: {task.shown}", MAX_WHY)
            key = f"{CAME_ALONG}-{transfer}.{number}-0"
            held.append(key)
            await self._keeper.take(key, LockSpec(self._running.what_of(task.modes, task.wish), who, why))

    async def _allowed(self, task: MovedTask) -> tuple[MovedTask, list[str]]:
        """Return it without what this host's polkit does not let the agent lock, and a sentence for each."""
        denied = [item for item in task.wish.inhibit if not await self._may_lock(item)]
        kept = tuple(item for item in task.wish.inhibit if item not in denied)
        sentences = [f"{task.shown}: polkit does not let the agent lock {item} there" for item in denied]
        return MovedTask(task.modes, replace(task.wish, inhibit=kept)), sentences

    def release(self, transfer: str) -> None:
        """Release these locks, with the program in charge by now, or not running."""
        for key in self._held.pop(transfer, ()):
            self._keeper.release(key)

    async def adopt(self, tasks: Sequence[MovedTask], pid: int) -> list[str]:
        """Make a process the owner of tasks; return a sentence for each failure.

        A task that the program has started itself by now is its own.
        """
        found = []
        for wanted in tasks:
            task, sentences = await self._allowed(wanted)
            found += sentences
            try:
                owner = self._owners.named(pid, os.getpid())
                check_modes(task.modes, owner.uid)
                if self._running.tasks.of(owner.app, task.wish.context) is not None:
                    continue
                requester = App(owner.uid, CAME_ALONG)
                try:
                    await self._running.start(task.modes, owner, requester, task.wish)
                except (InvalidParameter, PermissionDenied):
                    if task.wish.keep_alive == "protect":
                        raise
                    await self._running.start(
                        task.modes, owner, requester, replace(task.wish, keep_alive="protect")
                    )
                    found.append(f"{task.shown}: keep-alive {task.wish.keep_alive} is not to be had there")
            except AgentError as error:
                _LOGGER.info("a task that came along is refused: %s", error.text)
                found.append(_sentence(task, error))
        return found


def parse(along: Mapping[str, Any]) -> list[MovedTask]:
    """Read the tasks described by `of` at another host; raises InvalidParameter for nonsense."""
    given = along.get("tasks", [])
    if not isinstance(given, list) or len(given) > MOST:
        raise InvalidParameter(f"tasks that go along are a list of at most {MOST}")
    return [_parse(each) for each in given]


def _parse(data: object) -> MovedTask:
    if not isinstance(data, Mapping) or not all(isinstance(data.get(name, ""), str) for name in _TEXTS):
        raise InvalidParameter("a task that goes along has texts")
    modes, inhibit = data.get("modes"), data.get("inhibit", [])
    for words in (modes, inhibit):
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InvalidParameter("a task that goes along has lists of words")
    keep_alive, time_out = data.get("keep-alive", "protect"), data.get("time-out")
    if not isinstance(keep_alive, str) or not (time_out is None or type(time_out) is int):
        raise InvalidParameter("a task that goes along has a word for keep-alive and a number for its time")
    wish = TaskRequest(
        keep_alive=keep_alive,
        inhibit=parse_inhibit(inhibit),
        time_out=time_out,
        **{name: data.get(name, "") for name in _TEXTS},
    )
    return MovedTask(parse_modes([str(word) for word in modes or ()]), wish)


def _sentence(task: MovedTask, error: AgentError) -> str:
    return f"{task.shown}: {error.text}"
