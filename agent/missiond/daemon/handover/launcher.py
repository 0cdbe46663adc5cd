# SPDX-License-Identifier: Apache-2.0
"""The launcher of missions from other hosts: checks the needs first, then starts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from missiond.config.settings import ContinueSettings as Settings
from missiond.core.launch.description import LaunchDescription, check_command, user_here
from missiond.core.launch.unit import transfer_of, unit_name
from missiond.core.missions.missions import Mission, Registration
from missiond.core.missions.people import is_own_name, is_person
from missiond.daemon.handover.launch_description import registration_of
from missiond.daemon.keepalive.keep_alive import KeepAlive
from missiond.daemon.missions.registry import MissionObserver, MissionRegistry
from missiond.errors import (
    AgentError,
    CallerVerificationFailed,
    DistributedServiceFailed,
    InvalidParameter,
    PermissionDenied,
    RemoteNeedsFreeInstall,
    RemoteNotInstalled,
)
from missiond.host import packages
from missiond.host.package_kit import InstallFailed, PackageKit, PackageKitMissing
from missiond.host.systemd.launcher import Launcher, Possible, StartFailed, WarmStarts
from missiond.host.systemd.survivor_units import KeepFailed
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered
from missiond.host.user_database import USERS, UserDatabase
from missiond.host.user_database import home as home_key

_LOGGER = logging.getLogger(__name__)

Value = TypeVar("Value")

_UNKNOWN = frozenset({"ETIMEDOUT", "ECONNRESET", "EBADMSG", "EPIPE"})
"""Errors after which what was asked for may have been done."""
_WORDS = {
    "ENOSPC": "there is no space left in the user's runtime directory",
    "EREMOTEIO": "it refuses; its journal says why",
    "EPIPE": "it hung up",
    "ECONNRESET": "it hung up",
    "ETIMEDOUT": "it gives no answer in time",
    "ENOENT": "it does not run",
    "ECONNREFUSED": "it does not run",
}
"""What names of errors mean here."""
RESERVE = 32 << 20
"""Bytes of memory and of space to be left by a state, of little space a quarter."""


class StartUnknown(DistributedServiceFailed):
    """A start with unknown result; asked for again, the mission is not started twice."""


def available_memory() -> int | None:
    """Return the bytes left for programs without swapping; None where the kernel does not say."""
    import psutil  # noqa: PLC0415 (2 MB that only hosts need to which missions come)

    try:
        return int(psutil.virtual_memory().available)
    except (OSError, ValueError):
        return None


class LaunchTarget(MissionObserver):
    """The checks, preparations and starts of missions from other hosts, and of returning ones."""

    def __init__(
        self,
        launcher: Launcher,
        logins: KeepAlive,
        programs: MissingPrograms,
        missions: MissionRegistry,
        settings: Callable[[], Settings],
        free_memory: Callable[[], int | None] = available_memory,
        users: UserDatabase = USERS,
    ) -> None:
        self._settings = settings
        self._launcher = launcher
        self._logins = logins
        self._programs = programs
        self._missions = missions
        self._free_memory = free_memory
        self._users = users
        self._starting: Counter[int] = Counter()
        self._coming: dict[str, int] = {}
        """Users whose missions come, by transfer."""
        self._prepared = WarmStarts(launcher)

    async def check(
        self,
        what: LaunchDescription,
        transfer: str,
        size: int,
        *,
        install: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Check whether a mission could run here with so many bytes of state; nothing is started.

        Returns the bytes of space for files, for `room`. With `install` a missing program is installed first,
        if allowed, however long that takes; `progress` gets per cents. Raises RemoteNotInstalled,
        RemoteNeedsFreeInstall, and DistributedServiceFailed or PermissionDenied for all other obstacles. The
        user is logged in from now on, for as long as the mission runs here, or until `left`.
        """
        await self._users.learn(self._name(what))
        uid = self._coming[transfer] = self.uid_of(what)
        self.room(size)
        with self._wanted(uid):
            found = await self._look(uid, what, transfer)
            if not found.cwd:
                raise DistributedServiceFailed(
                    f"{what.user or uid} can't enter {what.cwd or 'the home'!r:.200} here"
                )
            if not found.executable:
                await self._programs.missing(what.executable, install=install, progress=progress)
                found = await self._look(uid, what, transfer)
            if not found.executable:
                raise DistributedServiceFailed(
                    f"{what.executable!r:.200} can't be run by this user, although its package is installed"
                )
            self.room(size, found.free)
            return found.free

    def room(self, size: int, space: int | None = None) -> None:
        """Check for room for so many bytes of state; raises DistributedServiceFailed.

        `space` is what `check` returned; None looks at memory and settings alone.
        """
        free = self._free_memory()
        if size > self._settings().state_max:
            raise DistributedServiceFailed(
                f"the state has {size} bytes, and {self._settings().state_max} are taken here; see StateMax="
            )
        if free is not None and size and size + RESERVE > free:
            raise DistributedServiceFailed(f"{size} bytes of state are more than there is memory left for")
        if space is not None and size and size + min(RESERVE, space // 4) > space:
            raise DistributedServiceFailed(
                f"{size} bytes of state do not fit the user's runtime directory, with {space} left"
            )

    async def prepare(
        self, what: LaunchDescription, transfer: str, origin: str, files: Mapping[str, int]
    ) -> bool:
        """Do all of `start` but the start; return whether possible.

        A failure is no error: `start` does everything then. The preparation waits for a while only.
        """
        unit = unit_name(what.app_id, transfer)
        try:
            await self._users.learn(self._name(what))
            uid = self.uid_of(what)
            return await self._prepared.prepare(
                uid,
                unit,
                self._wanted(uid),
                lambda: self._with_manager(
                    uid, lambda: self._launcher.prepare(uid, unit, what, origin=origin, files=files)
                ),
            )
        except AgentError as error:
            _LOGGER.debug("%s is not prepared: %s", unit, error)
            return False

    def discard(self, what: LaunchDescription, transfer: str) -> None:
        """Undo a preparation, if there is one."""
        self._prepared.discard(unit_name(what.app_id, transfer))

    def left(self, transfer: str) -> None:
        """Note the end of a transfer to here, with the mission running here or not."""
        if self._coming.pop(transfer, None) is not None:
            self._logins.review()

    def close(self) -> None:
        """Undo all preparations."""
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
        """Start a program and make a mission of the process; harmless when repeated for one transfer.

        `files` are as for Launcher.start; `own` missions are of this host, with `what.user` a user here.
        Raises StartUnknown where nobody can tell whether the program runs, DistributedServiceFailed where it
        does not, and PermissionDenied.
        """
        await self._users.learn(self._name(what, own=own))
        uid = self.uid_of(what, own=own)
        unit = unit_name(what.app_id, transfer)
        with self._wanted(uid):
            try:
                pid = await self._with_manager(
                    uid, lambda: self._prepared.start(uid, unit, what, origin, files)
                )
            except StartFailed as error:
                await self._how_it_ended(uid, unit)
                raise DistributedServiceFailed(f"{what.executable!r:.200} does not start: {error}") from None
            try:
                return self._missions.register(pid, self._registered(pid, what, origin))
            except CallerVerificationFailed:
                how = await self._how_it_ended(uid, unit)
                raise DistributedServiceFailed(f"{what.executable!r:.200} ended at once{how}") from None

    async def here(self, what: LaunchDescription, below: object) -> LaunchDescription:
        """Return a launch description with the directory `below` the user's home here; None leaves `what`.

        Raises InvalidParameter, and what `uid_of` raises.
        """
        await self._users.learn(self._name(what))
        if below is None:
            return what
        if not isinstance(below, str) or ".." in below.split("/"):
            raise InvalidParameter(f"{below!r:.60} is no directory below a home")
        uid = self.uid_of(what)
        await self._users.learn(home_key(uid))
        home = self._users.home_of(uid).rstrip("/")
        found = replace(what, cwd=f"{home}/{below}" if below else home)
        check_command(found.argv, found.cwd)
        return found

    def uid_of(self, what: LaunchDescription, *, own: bool = False) -> int:
        """Return the uid of the user here; raises PermissionDenied for nobody, and for no person.

        Raises SystemServiceFailed where the user database does not answer at once, see UserDatabase.
        """
        name = self._name(what, own=own)
        try:
            uid = self._users.uid_of(name)
        except KeyError:
            raise PermissionDenied(
                f"there is no user {name!r:.60} here; see [Continue] UserMap= in missiond.conf(5)"
            ) from None
        if not is_person(uid, lambda _: is_own_name(uid, name)):
            raise PermissionDenied(f"{name} is no person's user; missions go on as people only")
        return uid

    def needed(self) -> set[int]:
        """Return the users with logins needed for missions started here."""
        here = {mission.uid for mission in self._missions.table if _was_started(mission)}
        return here | set(self._starting) | set(self._coming.values())

    def removed(self, mission: Mission) -> None:
        """Review logins after the end of a mission (MissionObserver)."""
        if _was_started(mission):
            self._logins.review()

    def added(self, mission: Mission) -> None:
        """Review logins for a new mission, by whomever started (MissionObserver)."""
        if _was_started(mission):
            self._logins.review()

    def _name(self, what: LaunchDescription, *, own: bool = False) -> str:
        return what.user if own else user_here(what.user, dict(self._settings().user_map))

    async def _look(self, uid: int, what: LaunchDescription, transfer: str) -> Possible:
        unit = unit_name(what.app_id, transfer)
        return await self._with_manager(uid, lambda: self._launcher.check(uid, unit, what))

    async def _how_it_ended(self, uid: int, unit: str) -> str:
        """Have what failed forgotten by its manager; how it ended, as the end of a sentence."""
        try:
            ending = await self._launcher.ended(uid, unit)
        except (ManagersMissing, NotAnswered):
            return ""
        return f", {ending.how}" if ending.how else ""

    async def _with_manager(self, uid: int, ask: Callable[[], Awaitable[Value]]) -> Value:
        """Ask a user's manager, having the user logged in: one that runs may be about to end."""
        held: KeepFailed | None = None
        try:
            await self._logins.hold_login(uid)
        except KeepFailed as error:
            held = error
        try:
            found = await ask()
        except (ManagersMissing, NotAnswered) as answer:
            gone = isinstance(answer, NotAnswered) and answer.gone
            why: Exception = held if held is not None and gone else answer
            words = f"{_WORDS[str(why)]} ({why})" if str(why) in _WORDS else str(why)
            sentence = f"the service manager of user {uid} can't be asked: {words}; see missiond(8)"
            unknown = isinstance(answer, NotAnswered) and str(answer) in _UNKNOWN
            raise (StartUnknown if unknown else DistributedServiceFailed)(sentence) from None
        if held is not None:
            _LOGGER.warning("the login of user %d is not held, and may end what goes on here: %s", uid, held)
        return found

    def _registered(self, pid: int, what: LaunchDescription, origin: str) -> Registration:
        """Return the program's own registration where there is one already, else one from `what`."""
        for mission in self._missions.table:
            said = mission.registration
            if mission.seen.leader.pid == pid and said is not None and said.connection:
                return replace(said, origin=origin)
        return registration_of(what, origin)

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


def _was_started(mission: Mission) -> bool:
    """Whether this host started it for a hand-over: it has come, or come back."""
    said = mission.registration
    return transfer_of(mission.seen.unit) is not None or (said is not None and bool(said.origin))


class MissingPrograms:
    """Installation of missing programs, on request only, and by `installer` only, with a right to refuse.

    A process that may have packages installed is worth attacking: missiond(8) tells how an administrator
    allows this.
    """

    def __init__(
        self,
        package_with: Callable[[str], Awaitable[str | None]] = packages.package_with,
        installer: PackageKit | None = None,
    ) -> None:
        self._package_with = package_with
        self._installer = installer

    async def missing(
        self, program: str, *, install: bool, progress: Callable[[int], None] | None = None
    ) -> None:
        """Install a program with the package, if `install`; `progress` gets per cents, 0 at the start.

        Raises RemoteNotInstalled where no known package has the program, else RemoteNeedsFreeInstall with the
        package to install by hand, and the reason.
        """
        package = await self._package_with(program)
        if package is None:
            raise RemoteNotInstalled(f"{program!r:.200} is not there, and no package is known to have it")
        asked = ""
        if install:
            try:
                if self._installer is not None:
                    if progress is not None:
                        progress(0)
                    await self._installer.install(package, progress)
                    return
                asked = "it is not installed by this agent; "
            except PackageKitMissing:
                asked = "there is no PackageKit that could install it; "
            except InstallFailed as error:
                asked = f"{error}; "
        raise RemoteNeedsFreeInstall(
            f"{program!r:.200} is not there; {asked}have {package} installed there first"
        )
