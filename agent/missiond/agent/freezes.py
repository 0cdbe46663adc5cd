# SPDX-License-Identifier: Apache-2.0
"""Owners of continuous tasks are not left frozen (cgroup.freeze in cgroups(7))."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from missiond.agent.privileges import Privileges
from missiond.core.ward import Ward
from missiond.host.freezer import FreezeWatch, thawing

_LOGGER = logging.getLogger(__name__)


class Freezes:
    """Thaws the cgroups of wards, and tells when a group that is being ended is empty."""

    def __init__(self, privileges: Privileges, emptied: Callable[[str], None]) -> None:
        self._privileges = privileges
        self._watch = FreezeWatch(self._frozen, self._empty)
        self._emptied = emptied
        self._followed: dict[Ward, str] = {}
        self._ending: set[str] = set()
        self._work: set[asyncio.Task[None]] = set()

    def follow(self, ward: Ward, cgroup: str) -> None:
        """Thaw this cgroup, the ward's, whenever it is frozen."""
        if self._followed.get(ward) == cgroup or not cgroup.startswith("user.slice/"):
            return
        was_idle = not self._followed
        self.unfollow(ward)
        self._followed[ward] = cgroup
        try:
            self._watch.watch(cgroup)
        except OSError as error:
            _LOGGER.debug("can't watch %s: %s", cgroup, error)
            del self._followed[ward]
            return
        if was_idle:
            # Starting it takes longer than a frozen process should wait.
            self._privileges.stay(wanted=True)
            self._start(self._prepare())

    def unfollow(self, ward: Ward) -> None:
        """Leave the ward's cgroup as it is."""
        cgroup = self._followed.pop(ward, None)
        if cgroup is not None:
            self._watch.unwatch(cgroup)

    def await_empty(self, cgroup: str) -> None:
        """Tell once nothing is left in it."""
        if cgroup not in self._ending:
            try:
                self._watch.watch(cgroup)
            except OSError:
                asyncio.get_running_loop().call_soon(self._emptied, cgroup)
                return
            self._ending.add(cgroup)

    def rest(self) -> None:
        """Have the helper only while something may be frozen."""
        self._privileges.stay(wanted=bool(self._followed))

    def close(self) -> None:
        """Stop."""
        for work in self._work:
            work.cancel()
        self._watch.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _prepare(self) -> None:
        await self._privileges.ready()

    def _frozen(self, cgroup: str) -> None:
        requests = thawing(cgroup)
        if requests and cgroup in self._followed.values():
            self._start(self._thaw(cgroup))

    async def _thaw(self, cgroup: str) -> None:
        answers = await self._privileges.ask(thawing(cgroup))
        if answers.complete:
            refused = ", ".join(filter(None, answers.known))
            said = f"could not thaw ({refused})" if refused else "thawed"
            _LOGGER.info("%s %s, where a continuous task runs", said, cgroup)

    def _empty(self, cgroup: str) -> None:
        if cgroup in self._ending:
            self._ending.discard(cgroup)
            self._watch.unwatch(cgroup)
            self._emptied(cgroup)
