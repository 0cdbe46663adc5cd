# SPDX-License-Identifier: Apache-2.0
"""Groups below missiond-keep@UID.service: each has what belongs to one owner, out of its login session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from missiond.agent.privileges import Privileges
from missiond.agent.ward_files import WardFiles
from missiond.core.ward import Cgroup, Ward
from missiond.helper import paths
from missiond.helper.requests import Back, Drop, Keep, Kill, Request, Signal
from missiond.host.process_tree import CGROUPS, Member, around, tree_of

_ROUNDS = 5
"""A process that forks between look and move leaves a child behind: look again."""

GRACE = 90.0
"""Seconds from SIGTERM to SIGKILL, as systemd has it by default (DefaultTimeoutStopSec=)."""

_PAUSES = (0.01, 0.1, 1.0)
"""Seconds that the kernel may take to end what was killed."""


def group_of(ward: Ward) -> str:
    """Path of the group in which a ward is while it is out of its session."""
    return f"{paths.keeper(ward.uid)}/{ward.group}"


class KeptGroups:
    """`moved` is called when processes are in another cgroup; `later` when a ward is to be seen to again."""

    def __init__(
        self, privileges: Privileges, files: WardFiles, later: Callable[[Ward], None], root: Path = CGROUPS
    ) -> None:
        self.moved: Callable[[], None] = lambda: None
        self._privileges = privileges
        self._files = files
        self._later = later
        self._root = root
        self._ending: dict[Ward, asyncio.TimerHandle | None] = {}

    async def take_in(self, ward: Ward, home: Cgroup) -> bool:
        """Move the ward out of its session; false where that must be done later."""
        if ward.home is None:
            ward.home = home
            if not self._files.write(ward):
                ward.home = None
                return False
        for _ in range(_ROUNDS):
            tree = tree_of(ward.pid, ward.start_ticks)
            inside = (ward.uid, home.path)
            answers = await self._keep(
                [each for each in tree if paths.session_of(each.cgroup) == inside], ward
            )
            if answers is None:
                return False
            if "" not in answers:
                break
        self.moved()
        return True

    async def empty(self, ward: Ward, home: Cgroup, neighbours: Sequence[Ward], *, is_open: bool) -> bool:
        """Move what is left to other wards, back to the session or to its end; false where that takes longer.

        `neighbours` are the other wards of that user for whose sake its unit goes on.
        """
        group = group_of(ward)
        for other in neighbours:
            if other.tasks and other.home is not None:
                tree = tree_of(other.pid, other.start_ticks)
                if await self._keep([each for each in tree if each.cgroup == group], other) is None:
                    return False
        if is_open and not await self._back(group, home):
            return False
        if await self._drop(group):
            self.spare(ward)
            return True
        # Without neighbours the unit is stopped, which is just that.
        return not neighbours or await self._end(ward, group)

    def spare(self, ward: Ward) -> None:
        """Don't end it after all."""
        timer = self._ending.pop(ward, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """Wait for nothing any more."""
        for ward in list(self._ending):
            self.spare(ward)

    async def _back(self, group: str, home: Cgroup) -> bool:
        for _ in range(_ROUNDS):
            backs = [Back(each.pid, each.start_ticks, home.inode, home.path) for each in around(group)]
            answers = await self._ask(backs)
            if answers is None:
                return False
            if "" not in answers:
                break
        self.moved()
        return True

    async def _end(self, ward: Ward, group: str) -> bool:
        """What logging out would have done: SIGTERM, and SIGKILL to what is left; true once it is over."""
        if ward not in self._ending:
            self._ending[ward] = asyncio.get_running_loop().call_later(GRACE, self._over, ward)
            await self._ask([Signal(each.pid, each.start_ticks, "TERM") for each in around(group)])
            return False
        inode = self._inode(group)
        if self._ending[ward] is not None or inode is None or await self._ask([Kill(inode, group)]) is None:
            return inode is None
        for pause in _PAUSES:
            await asyncio.sleep(pause)
            if await self._drop(group):
                break
        self.spare(ward)
        return True

    def _over(self, ward: Ward) -> None:
        self._ending[ward] = None
        self._later(ward)

    async def _keep(self, members: Iterable[Member], ward: Ward) -> list[str] | None:
        return await self._ask([Keep(each.pid, each.start_ticks, ward.group) for each in members])

    async def _drop(self, group: str) -> bool:
        """Whether the group is gone."""
        inode = self._inode(group)
        return inode is None or await self._ask([Drop(inode, group)]) in ([""], ["ENOENT"])

    async def _ask(self, requests: Sequence[Request]) -> list[str] | None:
        answers = await self._privileges.ask(requests)
        return answers.known if answers.complete else None

    def _inode(self, path: str) -> int | None:
        try:
            return (self._root / path).stat().st_ino
        except OSError:
            return None
