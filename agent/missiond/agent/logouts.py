# SPDX-License-Identifier: Apache-2.0
"""Owners outlive the end of the login that they belong to.

Two things end with a login. logind kills what is in the scope of a session where KillUserProcesses= says so
(logind.conf(5)): such owners are moved into a group below missiond-keep@UID.service. The user's own service
manager ends with the last session, and all its units with it: that unit also holds a session of its own, so
that there is no last one. What is in a session that is not killed keeps that session, and needs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from missiond.agent.degraded import Degraded
from missiond.agent.kept_groups import KeptGroups
from missiond.agent.ward_files import WardFiles
from missiond.core.ward import Cgroup, Ward
from missiond.helper import paths
from missiond.helper.processes import Users
from missiond.host.keep_units import KeepFailed
from missiond.host.logins import LoginsUnknown, Session
from missiond.host.process_tree import CGROUPS

_LOGGER = logging.getLogger(__name__)
_SESSION_ID = re.compile(r".*/session-([A-Za-z0-9]+)\.scope")
_NEIGHBOUR = "keep-unit"

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds after which it is tried again to hold a login; twice as long each time.

The unit may still be ending, with what ignores SIGTERM in it (TimeoutStopSec= in systemd.service(5)).
"""


class LoginSource(Protocol):
    """logind, as far as logging out is concerned; each raises LoginsUnknown."""

    async def kills(self, uid: int) -> bool:
        """Whether the end of a user's session kills what is in it."""
        ...

    async def lingers(self, uid: int) -> bool:
        """Whether a user's manager stays anyway."""
        ...

    async def session(self, session_id: str) -> Session | None:
        """Return a session; None where it is over."""
        ...


class UnitSource(Protocol):
    """The units that hold logins; each raises KeepFailed."""

    async def start(self, uid: int) -> None:
        """Have a user's run."""
        ...

    async def stop(self, uid: int) -> None:
        """Have a user's end, with all in it."""
        ...


class LoginHost(NamedTuple):
    """Who is asked about logins, and who holds them."""

    logins: LoginSource
    units: UnitSource


class Logouts:
    """Which wards logging out would end, and what is done about it."""

    def __init__(
        self, host: LoginHost, groups: KeptGroups, files: WardFiles, degraded: Degraded, root: Path = CGROUPS
    ) -> None:
        self.wanted = True
        self.needed: Callable[[], Iterable[int]] = tuple
        """Users whose login is held for something else than tasks."""
        self.again: Callable[[], None] = lambda: None
        """Called when it is time to hold again what could not be held."""
        self._pause = FIRST_PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._host = host
        self._groups = groups
        self._files = files
        self._degraded = degraded
        self._root = root
        self._users = Users()
        self._running: set[int] = set()

    async def hold(self, ward: Ward) -> bool:
        """Have a ward outlive its login; false where that must be done later."""
        self._groups.spare(ward)
        if not self.wanted or ward.uid not in self._users:
            return True
        try:
            home = ward.home or await self._home(ward)
            ward.pinned = home is not None or await self._ends_with_manager(ward)
            if ward.pinned:
                await self._start(ward.uid)
        except (LoginsUnknown, KeepFailed) as error:
            self._degraded.set(_NEIGHBOUR, f"logging out may end what runs for continuous tasks: {error}")
            ward.pinned = ward.home is not None
            self._try_again()
            return True
        self._degraded.set(_NEIGHBOUR, None)
        self._pause = FIRST_PAUSE
        return home is None or await self._groups.take_in(ward, home)

    async def let_go(self, ward: Ward, wards: Iterable[Ward]) -> bool:
        """Back into the session, or, where that is over, the end; false where that takes longer."""
        home = ward.home
        if home is not None:
            neighbours = [each for each in wards if each is not ward and each.uid == ward.uid and each.pinned]
            if not await self._groups.empty(ward, home, neighbours, is_open=await self._is_open(home)):
                return False
        ward.home, ward.pinned = None, False
        return self._files.write(ward)

    async def hold_login(self, uid: int) -> None:
        """Have a user be logged in, and so the user's manager run, for as long as it is `needed`.

        Raises KeepFailed.
        """
        await self._start(uid)

    async def tidy(self, wards: Iterable[Ward]) -> None:
        """Stop the units that nobody needs, also those of an earlier run."""
        wards = list(wards)
        for uid in self._running - {ward.uid for ward in wards if ward.pinned} - set(self.needed()):
            try:
                await self._host.units.stop(uid)
            except KeepFailed as error:
                _LOGGER.warning("%s stays: %s", paths.KEEPER.format(uid), error)
            self._running.discard(uid)
        if not wards:
            self._degraded.set(_NEIGHBOUR, None)
            self.close()

    def close(self) -> None:
        """Try nothing again."""
        self._pause = FIRST_PAUSE
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def load(self) -> None:
        """Learn which units an earlier run has started, from the cgroups that they have."""
        for directory in self._root.glob(paths.KEEPERS):
            uid = paths.keeper_of(f"{directory.relative_to(self._root)}/")
            if uid is not None:
                self._running.add(uid)

    async def _home(self, ward: Ward) -> Cgroup | None:
        """Return the session out of which the ward has to be taken; None where it can stay."""
        found = paths.session_of(ward.cgroup)
        if found is None or found[0] != ward.uid or not await self._host.logins.kills(ward.uid):
            return None
        session = await self._host.logins.session(_session_id(found[1]))
        if session is None or session.leader == ward.pid:
            return None  # with its leader the session ends, and with its process the task
        try:
            return Cgroup((self._root / found[1]).stat().st_ino, found[1])
        except OSError:
            return None

    async def _ends_with_manager(self, ward: Ward) -> bool:
        manager = f"user.slice/user-{ward.uid}.slice/user@{ward.uid}.service/"
        return ward.cgroup.startswith(manager) and not await self._host.logins.lingers(ward.uid)

    async def _start(self, uid: int) -> None:
        if uid not in self._running or not (self._root / paths.keeper(uid)).is_dir():
            await self._host.units.start(uid)
            self._running.add(uid)

    def _try_again(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._pause_over)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _pause_over(self) -> None:
        self._timer = None
        self.again()

    async def _is_open(self, home: Cgroup) -> bool:
        """Whether there is still a session to go back to."""
        try:
            if (self._root / home.path).stat().st_ino != home.inode:
                return False
            session = await self._host.logins.session(_session_id(home.path))
        except OSError:
            return False
        except LoginsUnknown:
            return True
        return session is not None and not session.closing


def _session_id(path: str) -> str:
    match = _SESSION_ID.fullmatch(path)
    return match[1] if match else ""
