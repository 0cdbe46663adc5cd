# SPDX-License-Identifier: Apache-2.0
"""Has systemd-oomd(8) avoid the cgroups of owners, as ManagedOOMPreference=avoid does.

systemd-oomd reads the attribute user.oomd_avoid of a cgroup when it looks for one to kill. It minds that of a
cgroup that belongs to root; of others only while it watches a cgroup above of the same user
(systemd.resource-control(5)). systemd 252 takes it off when it reads its units again, 257 does not.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from missiond.common.debounce import Debouncer
from missiond.core.keepalive.protected_process import Cgroup, ProtectedProcess
from missiond.daemon.helper_client import HelperClient
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.daemon.keepalive.shortfalls import BY_RULE, OOMD, Shortfalls
from missiond.helper import paths
from missiond.helper.cgroups import AVOID
from missiond.helper.requests import Avoid, Forget
from missiond.host.inotify import AttributeWatch
from missiond.host.processes.tree import CGROUPS, look

_LOGGER = logging.getLogger(__name__)
_PAUSE = 1.0
"""Seconds from word that attributes have changed to the look at them; whoever changes them often waits."""
_SENTENCE = "continuous tasks are not all spared when memory runs out: systemd-oomd is not told of them ({})"


class OomdPreferences:
    """Marks are set while `wanted`, and only where there was none; `lost` is called where one is gone."""

    def __init__(
        self,
        privileges: HelperClient,
        files: WardFiles,
        shortfalls: Shortfalls,
        lost: Callable[[ProtectedProcess], None],
        root: Path = CGROUPS,
    ) -> None:
        self.wanted = False
        self._privileges = privileges
        self._files = files
        self._shortfalls = shortfalls
        self._root = root
        self._lost = lost
        self._marked: set[ProtectedProcess] = set()
        self._pace = Debouncer(self._look, _PAUSE)
        self._watch = AttributeWatch(self._pace.ask)

    async def put(self, ward: ProtectedProcess, others: Iterable[ProtectedProcess]) -> bool:
        """Mark where the ward is now; false where the helper is lost, or nothing can be written down."""
        others = list(others)
        place = self._place(ward) if self.wanted else None
        if ward.mark != place and not await self.take(ward, others):
            return False
        if place is None:
            self._shortfalls.note(ward, OOMD, None)
            return True
        if self._is_marked(place):
            self._shortfalls.note(ward, OOMD, None)
            if ward.mark == place or any(other.mark == place for other in others):
                ward.mark = place
                self._follow(ward, place)
                return self._files.write(ward)
            return True
        return await self._mark(ward, place)

    async def take(self, ward: ProtectedProcess, others: Iterable[ProtectedProcess]) -> bool:
        """Remove the mark of a ward, unless another ward has the same; false where a retry is needed."""
        if ward.mark is None:
            return True
        if not any(other.mark == ward.mark for other in others) and self._is_marked(ward.mark):
            answers = await self._privileges.ask([Forget(ward.mark.inode, ward.mark.path)])
            if not answers.complete:
                return False
        self._unfollow(ward, ward.mark)
        ward.mark = None
        return self._files.write(ward)

    def close(self) -> None:
        """Stop watching marks; the marks stay."""
        self._pace.close()
        self._watch.close()

    async def _mark(self, ward: ProtectedProcess, place: Cgroup) -> bool:
        ward.mark = place
        if not self._files.write(ward):
            ward.mark = None
            return False
        answers = await self._privileges.ask([Avoid(ward.pid, ward.start_ticks, place.inode)])
        # There was none just before, so that one which is there now is ours.
        if answers.known in ([""], ["EEXIST"]) or answers.unsure:
            self._follow(ward, place)
            self._shortfalls.note(ward, OOMD, None)
            return answers.complete
        if answers.known:
            if OOMD not in ward.missing:
                _LOGGER.debug("systemd-oomd is not told of %s (%s)", place.path, answers.known[0])
            why = answers.known[0]
            self._shortfalls.note(ward, OOMD, BY_RULE if why == "EPERM" else _SENTENCE.format(why))
        ward.mark = None
        self._files.write(ward)
        return answers.complete

    def _follow(self, ward: ProtectedProcess, place: Cgroup) -> None:
        self._marked.add(ward)
        self._watch.add(self._root / place.path)

    def _unfollow(self, ward: ProtectedProcess, place: Cgroup) -> None:
        self._marked.discard(ward)
        if not any(other.mark == place for other in self._marked):
            self._watch.remove(self._root / place.path)

    def _look(self) -> None:
        for ward in list(self._marked):
            if ward.mark is not None and not self._is_marked(ward.mark):
                self._lost(ward)

    def _place(self, ward: ProtectedProcess) -> Cgroup | None:
        """Where the ward is, if that is in a unit."""
        with contextlib.suppress(OSError, ValueError):
            member = look(ward.pid)
            paths.check_in_unit(member.cgroup)
            if member.start_ticks == ward.start_ticks:
                return Cgroup((self._root / member.cgroup).stat().st_ino, member.cgroup)
        return None

    def _is_marked(self, place: Cgroup) -> bool:
        """Whether it is marked; false where it is gone."""
        directory = self._root / place.path
        try:
            if directory.stat().st_ino != place.inode:
                return False
            return AVOID in os.listxattr(directory)
        except OSError:
            return False
