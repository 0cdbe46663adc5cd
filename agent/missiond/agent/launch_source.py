# SPDX-License-Identifier: Apache-2.0
"""How a mission of this host would be started elsewhere, if it can go on there at all."""

from __future__ import annotations

import pwd
from pathlib import Path

from missiond.core.launch import desktop_exec
from missiond.core.launch.description import LaunchDescription, make
from missiond.core.missions import Mission, Registration
from missiond.errors import DistributedServiceFailed
from missiond.host import desktop_entries, executables

_PLACES = tuple(map(Path, ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/games", "/usr/games")))
"""Where programs of desktop entries are looked for."""


def describe(mission: Mission) -> tuple[LaunchDescription, tuple[str, ...]]:
    """Return what it takes to start it, and the names of variables that stay behind.

    The command is as registered, else as the application's desktop entry has it. Raises
    DistributedServiceFailed, which says why it can't go on elsewhere, and InvalidParameter for a registration
    that can't be started.
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


def may_relaunch(mission: Mission) -> bool:
    """Whether it may be started elsewhere though nobody hands its state over: its user allowed that."""
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
        words = desktop_exec.command(entry.command)
    except ValueError as error:
        raise DistributedServiceFailed(f"the command in the desktop entry of {app_id}: {error}") from None
    program = executables.search(words[0], _PLACES)
    if program is None:
        raise DistributedServiceFailed(
            f"the desktop entry of {app_id} names {words[0]!r:.60}, which is not there"
        )
    return (program, *words[1:]), registration.cwd or entry.directory


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise DistributedServiceFailed(f"user {uid} has no name on this host") from None
