# SPDX-License-Identifier: Apache-2.0
"""Groups below missiond-keep@UID.service: each has the processes of one owner, out of the login session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from missiond.core.keepalive.protected_process import Cgroup, ProtectedProcess
from missiond.daemon.helper_client import HelperClient
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.helper import paths
from missiond.helper.requests import Back, Drop, Keep, Kill, Request, Signal
from missiond.host.processes.tree import CGROUPS, Member, around, tree_of

_ROUNDS = 5
"""A process that forks between look and move leaves a child behind: look again."""

GRACE = 90.0
"""Seconds from SIGTERM to SIGKILL, systemd's default (DefaultTimeoutStopSec=)."""

_PAUSES = (0.01, 0.1, 1.0)
"""Seconds that the kernel may take to end what was killed."""


def group_of(ward: ProtectedProcess) -> str:
    """Return the path of a ward's group out of the session."""
    return f"{paths.keeper(ward.uid)}/{ward.group}"


class SurvivorCgroups:
    """`moved` is called when processes are in another cgroup; `later` when a ward is to be seen to again."""

    def __init__(
        self,
        privileges: HelperClient,
        files: WardFiles,
        later: Callable[[ProtectedProcess], None],
        moved: Callable[[], None] = lambda: None,
        root: Path = CGROUPS,
    ) -> None:
        self._moved = moved
        self._privileges = privileges
        self._files = files
        self._later = later
        self._root = root
        self._ending: dict[ProtectedProcess, asyncio.TimerHandle | None] = {}

    async def take_in(self, ward: ProtectedProcess, home: Cgroup) -> bool:
        """Move the ward out of the session; false where a part must be done later."""
        if ward.home is None:
            ward.home = home
            if not self._files.write(ward):
                ward.home = None
                return False
        for _ in range(_ROUNDS):
            tree = tree_of(ward.pid, ward.start_ticks)
            # what somebody put into a cgroup below the session stays there, with the limits of that
            answers = await self._keep([each for each in tree if each.cgroup == home.path], ward)
            if answers is None:
                return False
            if "" not in answers:
                break
        self._moved()
        return True

    def is_left(self, ward: ProtectedProcess, home: Cgroup) -> bool:
        """Whether the ward's own process is still in the session, since moving failed."""
        tree = tree_of(ward.pid, ward.start_ticks)
        return any(each.pid == ward.pid and each.cgroup == home.path for each in tree)

    async def empty(
        self, ward: ProtectedProcess, home: Cgroup, neighbours: Sequence[ProtectedProcess], *, is_open: bool
    ) -> bool:
        """Move the rest to other wards, to the session or to the end; false where more time is needed.

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

    def spare(self, ward: ProtectedProcess) -> None:
        """Cancel the end of a ward."""
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
        self._moved()
        return True

    async def _end(self, ward: ProtectedProcess, group: str) -> bool:
        """End a group as logging out would have: SIGTERM, SIGKILL to the rest; true once it is over."""
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

    def _over(self, ward: ProtectedProcess) -> None:
        self._ending[ward] = None
        self._later(ward)

    async def _keep(self, members: Iterable[Member], ward: ProtectedProcess) -> list[str] | None:
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
