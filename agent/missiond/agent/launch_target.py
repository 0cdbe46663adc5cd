# SPDX-License-Identifier: Apache-2.0
"""Has missions of other hosts go on here, once everything that they need was seen to be there."""

from __future__ import annotations

import logging
import pwd
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from missiond.agent.missions import Missions
from missiond.agent.prepared_starts import Prepared, PreparedStarts
from missiond.config.settings import Continue as Settings
from missiond.core.launch.description import LaunchDescription
from missiond.core.launch.unit_name import unit_name
from missiond.core.launch.users import user_here
from missiond.core.missions import Mission, Registration
from missiond.errors import (
    CallerVerificationFailed,
    DistributedServiceFailed,
    PermissionDenied,
)
from missiond.helper.processes import Users
from missiond.host import memory
from missiond.host.keep_units import KeepFailed
from missiond.host.launcher import Possible, StartFailed
from missiond.host.unit_managers import ManagersMissing, NotAnswered

_LOGGER = logging.getLogger(__name__)

Value = TypeVar("Value")

_UNKNOWN = frozenset({"ETIMEDOUT", "ECONNRESET", "EBADMSG"})
"""Errors after which what was asked for may have been done."""
RESERVE = 32 << 20
"""Bytes of memory and of space that state must leave."""


class StartUnknown(DistributedServiceFailed):
    """Nobody can tell whether it was started; asked again, it is not started twice."""


class Starter(Protocol):
    """missiond-units, as far as it is needed here; raises ManagersMissing, NotAnswered."""

    async def check(self, uid: int, unit: str, what: LaunchDescription) -> Possible:
        """Look whether it could be started."""
        ...

    async def start(
        self,
        uid: int,
        unit: str,
        what: LaunchDescription,
        *,
        origin: str = "",
        files: Mapping[str, int] | None = None,
    ) -> int:
        """Start it; the pid. Raises StartFailed."""
        ...

    async def prepare(
        self,
        uid: int,
        unit: str,
        what: LaunchDescription,
        *,
        origin: str = "",
        files: Mapping[str, int] | None = None,
    ) -> Prepared:
        """Do all of that which can be done before."""
        ...


class Absent(Protocol):
    """What becomes of a program that is not there."""

    async def missing(
        self, program: str, *, install: bool, progress: Callable[[int], None] | None = None
    ) -> None:
        """Install it where it is wanted; raises RemoteNotInstalled, RemoteNeedsFreeInstall otherwise."""
        ...


class LoginHolder(Protocol):
    """Holds the login of a user who is not there, so that the user's manager runs."""

    async def hold_login(self, uid: int) -> None:
        """Have it be there; raises KeepFailed."""
        ...

    def review(self) -> None:
        """Let go of logins that nobody needs."""
        ...


class LaunchTarget:
    """`settings` may be replaced at any time."""

    def __init__(
        self,
        starter: Starter,
        logins: LoginHolder,
        absent: Absent,
        missions: Missions,
        settings: Settings,
        free_memory: Callable[[], int | None] = memory.available,
    ) -> None:
        self.settings = settings
        self._starter = starter
        self._logins = logins
        self._absent = absent
        self._missions = missions
        self._free_memory = free_memory
        self._starting: Counter[int] = Counter()
        self._prepared = PreparedStarts(starter)

    async def check(
        self,
        what: LaunchDescription,
        transfer: str,
        size: int,
        *,
        install: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Return where it could go on here with so many bytes of state; nothing is started.

        What is returned is how many bytes there is space for, see `room`.
        `install`: a missing program is installed first, if that is allowed, as long as that takes; `progress`
        is told per cents of it. Raises RemoteNotInstalled, RemoteNeedsFreeInstall, and for all else
        DistributedServiceFailed or PermissionDenied, which say what is in the way.
        """
        uid = self.uid_of(what)
        self.room(size)
        with self._wanted(uid):
            found = await self._look(uid, what, transfer)
            if not found.cwd:
                raise DistributedServiceFailed(
                    f"{what.user or uid} can't enter {what.cwd or 'the home'!r:.200} here"
                )
            if not found.executable:
                await self._absent.missing(what.executable, install=install, progress=progress)
                found = await self._look(uid, what, transfer)
            if not found.executable:
                raise DistributedServiceFailed(
                    f"{what.executable!r:.200} can't be run by this user, although its package is installed"
                )
            self.room(size, found.free)
            return found.free

    def room(self, size: int, space: int | None = None) -> None:
        """Return where so many bytes of state can be handed to a program; raises DistributedServiceFailed.

        `space` is what `check` returned; None looks at memory and settings alone.
        """
        free = self._free_memory()
        if size > self.settings.state_max:
            raise DistributedServiceFailed(
                f"the state has {size} bytes, and {self.settings.state_max} are taken here; see StateMax="
            )
        if free is not None and size + RESERVE > free:
            raise DistributedServiceFailed(f"{size} bytes of state are more than there is memory left for")
        if space is not None and size + RESERVE > space:
            raise DistributedServiceFailed(
                f"{size} bytes of state do not fit the user's runtime directory, with {space} left"
            )

    async def prepare(
        self, what: LaunchDescription, transfer: str, origin: str, files: Mapping[str, int]
    ) -> bool:
        """Do all that `start` would do but start it; whether that is so.

        It is no error where it can't be done: `start` does everything then. It waits for a while only.
        """
        unit = unit_name(what.app_id, transfer)
        try:
            uid = self.uid_of(what)
            return await self._prepared.prepare(
                uid,
                unit,
                self._wanted(uid),
                lambda: self._with_manager(
                    uid, lambda: self._starter.prepare(uid, unit, what, origin=origin, files=files)
                ),
            )
        except (DistributedServiceFailed, PermissionDenied) as error:
            _LOGGER.debug("%s is not prepared: %s", unit, error)
            return False

    def discard(self, what: LaunchDescription, transfer: str) -> None:
        """Undo what was prepared, if it was: it will not be started."""
        self._prepared.discard(unit_name(what.app_id, transfer))

    def close(self) -> None:
        """Undo all that is prepared."""
        self._prepared.close()

    async def start(
        self,
        what: LaunchDescription,
        transfer: str,
        origin: str,
        files: Mapping[str, int],
        *,
        own: bool = False,
    ) -> Mission:
        """Start it and make it a mission; again, for the same hand-over, does no harm.

        `files` as Launcher.start has them; `own` missions are of this host, and `what.user` is that of a user
        here. Raises StartUnknown where it may run or not, DistributedServiceFailed where it does not run, and
        PermissionDenied.
        """
        uid = self.uid_of(what, own=own)
        unit = unit_name(what.app_id, transfer)
        with self._wanted(uid):
            try:
                pid = await self._with_manager(
                    uid, lambda: self._prepared.start(uid, unit, what, origin, files)
                )
            except StartFailed as error:
                raise DistributedServiceFailed(f"{what.executable!r:.200} does not start: {error}") from None
            try:
                return self._missions.register(pid, self._registered(pid, what, origin))
            except CallerVerificationFailed:
                raise DistributedServiceFailed(f"{what.executable!r:.200} ended at once") from None

    def uid_of(self, what: LaunchDescription, *, own: bool = False) -> int:
        """Find the user here; raises PermissionDenied where it is nobody, or no person."""
        name = what.user if own else user_here(what.user, dict(self.settings.user_map))
        try:
            uid = pwd.getpwnam(name).pw_uid
        except KeyError:
            raise PermissionDenied(
                f"there is no user {name!r:.60} here; see [Continue] UserMap= in missiond.conf(5)"
            ) from None
        if uid not in Users():
            raise PermissionDenied(f"{name} is no person's user; missions go on as people only")
        return uid

    def needed(self) -> set[int]:
        """Users whose logins are needed for what came here."""
        here = (mission for mission in self._missions.table if mission.registration is not None)
        return {m.uid for m in here if m.registration and m.registration.origin} | set(self._starting)

    def removed(self, mission: Mission) -> None:
        """One is over (MissionObserver)."""
        if mission.registration is not None and mission.registration.origin:
            self._logins.review()

    def added(self, mission: Mission) -> None:
        """Nothing to do (MissionObserver)."""

    def changed(self, mission: Mission, *properties: str) -> None:
        """Nothing to do (MissionObserver)."""

    async def _look(self, uid: int, what: LaunchDescription, transfer: str) -> Possible:
        unit = unit_name(what.app_id, transfer)
        return await self._with_manager(uid, lambda: self._starter.check(uid, unit, what))

    async def _with_manager(self, uid: int, ask: Callable[[], Awaitable[Value]]) -> Value:
        """Ask a user's manager, which is started where it does not run."""
        try:
            try:
                return await ask()
            except NotAnswered as error:
                if not error.gone:
                    raise
            await self._logins.hold_login(uid)
            return await ask()
        except (ManagersMissing, NotAnswered, KeepFailed) as error:
            sentence = f"the service manager of user {uid} can't be asked: {error}; see missiond(8)"
            unknown = isinstance(error, NotAnswered) and str(error) in _UNKNOWN
            raise (StartUnknown if unknown else DistributedServiceFailed)(sentence) from None

    def _registered(self, pid: int, what: LaunchDescription, origin: str) -> Registration:
        """What the program has said of itself by now counts for more than what it said before."""
        for mission in self._missions.table:
            said = mission.registration
            if mission.seen.leader.pid == pid and said is not None and said.connection:
                return replace(said, origin=origin)
        return _registration(what, origin)

    @contextmanager
    def _wanted(self, uid: int) -> Iterator[None]:
        self._starting[uid] += 1
        try:
            yield
        finally:
            self._starting[uid] -= 1
            if not self._starting[uid]:
                del self._starting[uid]
            self._logins.review()


def _registration(what: LaunchDescription, origin: str) -> Registration:
    """It can go on from here as it could from there; its user allowed both or it would not be here."""
    return Registration(
        label=what.label,
        icon=what.icon,
        argv=what.argv,
        cwd=what.cwd,
        environment=what.environment,
        relaunch=True,
        tag=what.tag,
        properties=what.properties,
        state_directory=what.state_directory or "",
        origin=origin,
    )
