# SPDX-License-Identifier: Apache-2.0
"""Survival of owners after the end of the login.

Two things end with a login. logind kills what is in the scope of a session where KillUserProcesses= says so
(logind.conf(5)): such owners are moved into a group below missiond-keep@UID.service. The user's own service
manager ends with the last session, and all its units with it: that unit also holds a session of its own, so
that there is no last one. What is in a session that is not killed keeps that session, and needs nothing.
Missions that came from other hosts are units of the user's manager, and need the session as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from missiond.common.backoff import Backoff
from missiond.core.keepalive.protected_process import Cgroup, ProtectedProcess
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.daemon.keepalive.shortfalls import BY_RULE, LOGOUT, Shortfalls
from missiond.daemon.keepalive.survivor_cgroups import SurvivorCgroups
from missiond.helper import paths
from missiond.helper.processes import Users
from missiond.host.processes.tree import CGROUPS
from missiond.host.systemd.logind_sessions import Logins, LoginsUnknown
from missiond.host.systemd.survivor_units import KeepFailed

_LOGGER = logging.getLogger(__name__)
_SESSION_ID = re.compile(r".*/session-([A-Za-z0-9]+)\.scope")
_SENTENCE = "logging out may end what runs for continuous tasks: {}"
_MISSIONS = "keep-unit-missions"

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds until another attempt to hold a login, or to let a login go; twice as long each time.

The unit may still be ending, with what ignores SIGTERM in it (TimeoutStopSec= in systemd.service(5)).
"""


class UnitSource(Protocol):
    """The units behind held logins; each call raises KeepFailed."""

    async def start(self, uid: int) -> None:
        """Have a user's run."""
        ...

    async def stop(self, uid: int) -> None:
        """Stop the unit of a user, with all in the unit."""
        ...


class LoginHost(NamedTuple):
    """The source of logins, and the holder of logins."""

    logins: Logins
    units: UnitSource


class SessionEnds:
    """The wards at risk from a logout, and the means against the risk."""

    def __init__(
        self,
        host: LoginHost,
        groups: SurvivorCgroups,
        files: WardFiles,
        shortfalls: Shortfalls,
        again: Callable[[], None],
        root: Path = CGROUPS,
    ) -> None:
        """Take `again`, the callback for the time of another attempt to hold logins, or to let logins go."""
        self._again = again
        self.wanted = True
        self.needed: Callable[[], Iterable[int]] = tuple
        """Users whose login is held for something else than tasks."""
        self.awaited: Callable[[], Iterable[int]] = tuple
        """Users whose login stays held where it is held: they may have no ward for a moment."""
        self._pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._host = host
        self._groups = groups
        self._files = files
        self._shortfalls = shortfalls
        self._root = root
        self._users = Users()
        self._running: set[int] = set()
        self._jobs = asyncio.Lock()
        """Held while it is seen whether a unit is needed, and that is done: a stop must not cross a start."""

    async def hold(self, ward: ProtectedProcess) -> bool:
        """Have a ward outlive the login; false where a part must be done later."""
        self._groups.spare(ward)
        if not self.wanted or ward.uid not in self._users:
            self._shortfalls.note(ward, LOGOUT, None)
            return True
        try:
            home = ward.home or await self._home(ward)
            ward.pinned = home is not None or await self._ends_with_manager(ward)
            if ward.pinned:
                await self._start(ward.uid)
        except (LoginsUnknown, KeepFailed) as error:
            self._shortfalls.note(ward, LOGOUT, _SENTENCE.format(error))
            ward.pinned = ward.home is not None
            self._pauses.later(self._again)
            return True
        self._pauses.reset()
        if home is not None and not await self._groups.take_in(ward, home):
            self._shortfalls.lacks(ward, LOGOUT, missing=True)
            return False
        await self._note(ward, home)
        return True

    async def _note(self, ward: ProtectedProcess, home: Cgroup | None) -> None:
        """Say whether logging out ends the ward all the same."""
        sentence = None
        if home is not None and self._groups.is_left(ward, home):
            sentence = _SENTENCE.format("it stays in its session")
        elif home is None and (path := await self._killed_session(ward)) and await self._is_bound(ward, path):
            sentence = BY_RULE
        self._shortfalls.note(ward, LOGOUT, sentence)

    async def without_helper(self, ward: ProtectedProcess) -> None:
        """Note the missing parts while nobody can move processes."""
        with contextlib.suppress(LoginsUnknown):
            if self.wanted and ward.uid in self._users and not ward.home and await self._home(ward):
                self._shortfalls.lacks(ward, LOGOUT, missing=True)

    async def let_go(self, ward: ProtectedProcess, wards: Iterable[ProtectedProcess]) -> bool:
        """Return a ward to the session, or end a ward without a session; false where more time is needed."""
        home = ward.home
        if home is not None:
            neighbours = [each for each in wards if each is not ward and each.uid == ward.uid and each.pinned]
            if not await self._groups.empty(ward, home, neighbours, is_open=await self._is_open(home)):
                return False
        ward.home, ward.pinned = None, False
        return self._files.write(ward)

    async def hold_login(self, uid: int) -> None:
        """Keep a user logged in, and so the user's manager running, for as long as the user is `needed`.

        Raises KeepFailed.
        """
        await self._start(uid)

    async def tidy(self, wards: Iterable[ProtectedProcess]) -> None:
        """Stop the units without a need, also an earlier run's, and start the needed ones."""
        wards = list(wards)
        left = False
        for uid in self._running - {ward.uid for ward in wards if ward.pinned}:
            left = not await self._stop_unneeded(uid) or left
        missing = await self._start_needed()
        if left:
            self._pauses.later(self._again)
        elif not wards and not missing:
            self.close()

    def close(self) -> None:
        """Try nothing again."""
        self._pauses.reset()
        self._pauses.cancel()

    def load(self) -> None:
        """Find the units started by an earlier run, from the cgroups."""
        for directory in self._root.glob(paths.KEEPERS):
            uid = paths.keeper_of(f"{directory.relative_to(self._root)}/")
            if uid is not None:
                self._running.add(uid)

    async def _home(self, ward: ProtectedProcess) -> Cgroup | None:
        """Return the session out of which the ward has to be taken; None where it can, or has to, stay."""
        path = await self._killed_session(ward)
        if path is None or await self._is_bound(ward, path):
            return None
        session = await self._host.logins.session(_session_id(path))
        if session is None or session.leader == ward.pid:
            return None  # with its leader the session ends, and with its process the task
        try:
            return Cgroup((self._root / path).stat().st_ino, path)
        except OSError:
            return None

    async def _killed_session(self, ward: ProtectedProcess) -> str | None:
        """Return the session that the ward is in, where logging out kills what is in it."""
        found = paths.session_of(ward.cgroup)
        if found is None or found[0] != ward.uid or not await self._host.logins.kills(ward.uid):
            return None
        return found[1]

    async def _is_bound(self, ward: ProtectedProcess, session: str) -> bool:
        """Whether limits hold for it there, which it would escape: it ends with the session."""
        return session != ward.cgroup or await self._host.logins.is_limited(session.rpartition("/")[2])

    async def _ends_with_manager(self, ward: ProtectedProcess) -> bool:
        manager = f"user.slice/user-{ward.uid}.slice/user@{ward.uid}.service/"
        return ward.cgroup.startswith(manager) and not await self._host.logins.lingers(ward.uid)

    async def _start(self, uid: int) -> None:
        async with self._jobs:
            if uid not in self._running or not (self._root / paths.keeper(uid)).is_dir():
                await self._host.units.start(uid)
                self._running.add(uid)

    async def _stop_unneeded(self, uid: int) -> bool:
        """Whether it is as it should be; else it is to be tried again."""
        async with self._jobs:
            if uid in self.needed() or uid in self.awaited():
                return True
            try:
                await self._host.units.stop(uid)
            except KeepFailed as error:
                if (self._root / paths.keeper(uid)).is_dir():  # else it had ended before
                    _LOGGER.warning("%s stays for now: %s", paths.KEEPER.format(uid), error)
                    return False
            self._running.discard(uid)
            return True

    async def _start_needed(self) -> bool:
        """Whether one is missing then: it is tried again."""
        wrong = None
        for uid in sorted(set(self.needed())):
            try:
                if uid in self._users:
                    await self._start(uid)
            except KeepFailed as error:
                wrong = f"logging out may end missions of other hosts that go on here: {error}"
        self._shortfalls.degraded.set(_MISSIONS, wrong)
        if wrong is not None:
            self._pauses.later(self._again)
        return wrong is not None

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
