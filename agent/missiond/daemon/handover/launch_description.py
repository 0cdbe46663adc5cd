# SPDX-License-Identifier: Apache-2.0
"""The launch description of a mission of this host, for a start elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from missiond.core.launch import desktop_exec
from missiond.core.launch.description import LaunchDescription, make
from missiond.core.missions.missions import Leader, Mission, Registration
from missiond.errors import DistributedServiceFailed, SystemServiceFailed
from missiond.host.processes import executables
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.user_database import USERS
from missiond.host.users import desktop_entries

_PLACES = tuple(map(Path, ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/games", "/usr/games")))
"""Where programs of desktop entries are looked for."""


def describe(mission: Mission) -> tuple[LaunchDescription, tuple[str, ...]]:
    """Return the launch description of a mission, and the names of variables left behind.

    The command is the registered one, else the one of the application's desktop entry. Raises
    DistributedServiceFailed with the obstacle, and InvalidParameter for an invalid registration.
    """
    registration = mission.registration
    if registration is None or not mission.continuable:
        raise DistributedServiceFailed(
            f"mission {mission.id}, {mission.seen.app_id}, can't go on elsewhere: it did not say that it can "
            "(RegisterMission with continuable) and its user did not allow it (missionctl run --continuable)"
        )
    argv, cwd = (
        (registration.argv, registration.cwd) if registration.argv else _of_desktop(mission, registration)
    )
    description = LaunchDescription(
        argv=argv,
        cwd=cwd,
        environment=registration.environment,
        user=_user(mission.uid),
        properties=registration.properties,
        state_directory=registration.state_directory or None,
        label=mission.label,
        icon=mission.icon,
        tag=mission.tag,
        app_id=mission.seen.app_id,
    )
    found, dropped = make(description)
    return found, tuple(sorted({*dropped, *registration.dropped}))


def registration_of(what: LaunchDescription, origin: str) -> Registration:
    """Return the registration of a mission started here as `what` for the device `origin`.

    Like the old one, this mission can continue elsewhere: its user has allowed both.
    """
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


def with_habits(mission: Mission, what: LaunchDescription) -> LaunchDescription:
    """Return a launch description with the program's umask here, and a nice value above 0 as Nice=.

    A registered Nice= takes precedence. A process that is gone adds nothing.
    """
    for leader in (mission.registrant, mission.seen.leader):
        if leader is not None and (found := _habits(leader)) is not None:
            umask, nice = found
            named = any(each.startswith("Nice=") for each in what.properties)
            added = () if named or nice <= 0 else (f"Nice={nice}",)
            return replace(what, umask=umask, properties=(*what.properties, *added))
    return what


def below_home(mission: Mission, directory: str) -> str | None:
    """Return the directory relative to the home of the mission's user; None where not below."""
    try:
        home = USERS.home_of(mission.uid).rstrip("/")
    except (KeyError, SystemServiceFailed):  # the directory goes along all the same
        return None
    if not home or not f"{directory}/".startswith(f"{home}/") or ".." in directory.split("/"):
        return None
    return directory.removeprefix(home).strip("/")


def may_relaunch(mission: Mission) -> bool:
    """Whether the user allowed a start elsewhere without a state."""
    return mission.registration is not None and mission.registration.relaunch


def _of_desktop(mission: Mission, registration: Registration) -> tuple[tuple[str, ...], str]:
    app_id = mission.seen.app_id
    entry = desktop_entries.find(app_id)
    if entry is None or not entry.command:
        raise DistributedServiceFailed(
            f"mission {mission.id} can't go on elsewhere: it registered no argv, and {app_id} has no desktop "
            "entry with a command"
        )
    try:
        words = desktop_exec.command(entry.command, entry.name, entry.icon)
    except ValueError as error:
        raise DistributedServiceFailed(f"the command in the desktop entry of {app_id}: {error}") from None
    program = executables.search(words[0], _PLACES)
    if program is None:
        raise DistributedServiceFailed(
            f"the desktop entry of {app_id} names {words[0]!r:.60}, which is not there"
        )
    return (program, *words[1:]), registration.cwd or entry.directory


def _habits(leader: Leader) -> tuple[int, int] | None:
    """Umask and nice value of this very process; None where it is gone."""
    try:
        with ProcDirectory(leader.pid) as directory:
            found = directory.umask(), directory.nice()
            return found if directory.start_ticks() == leader.start_ticks else None
    except (OSError, ValueError):
        return None


def _user(uid: int) -> str:
    try:
        return USERS.name_of(uid)
    except KeyError:
        raise DistributedServiceFailed(f"user {uid} has no name on this host") from None
