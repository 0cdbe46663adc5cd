# SPDX-License-Identifier: Apache-2.0
"""Options of RegisterMission."""

from __future__ import annotations

from typing import Any

from missiond.core.launch.description import MAX_LIST, check_command, check_environment, check_state_directory
from missiond.core.launch.unit import parse_properties
from missiond.core.missions.missions import Registration
from missiond.core.tasks.locks import printable
from missiond.errors import InvalidParameter

REGISTRATION = {
    "pid": "u",
    "label": "s",
    "icon": "s",
    "argv": "as",
    "cwd": "s",
    "environment": "as",
    "continuable": "b",
    "relaunch": "b",
    "unit-properties": "as",
    "state-directory": "s",
    "tag": "i",
}
"""Types of the options, by key."""

_TEXT = 1024


def registration_of(chosen: dict[str, Any], connection: str) -> Registration:
    """Return a registration from options of the right types; raises InvalidParameter.

    What goes on elsewhere has to be startable there, so more is asked of it.
    """
    for key in ("argv", "environment"):
        if sum(len(item.encode()) + 1 for item in chosen.get(key, ())) > MAX_LIST:
            raise InvalidParameter(f"{key} is longer than {MAX_LIST} bytes in all")
    for key in ("label", "icon", "cwd"):
        if len(chosen.get(key, "").encode()) > _TEXT * 4:
            raise InvalidParameter(f"{key} is longer than {_TEXT * 4} bytes")
    argv, cwd = chosen.get("argv", ()), chosen.get("cwd", "")
    environment: tuple[str, ...] = tuple(chosen.get("environment", ()))
    dropped: tuple[str, ...] = ()
    if chosen.get("continuable") or chosen.get("relaunch"):
        if argv:
            check_command(argv, cwd)
        environment, dropped = check_environment(environment)
    check_state_directory(chosen.get("state-directory"))
    return Registration(
        label=printable(chosen.get("label", ""), _TEXT).strip(),
        icon=printable(chosen.get("icon", ""), _TEXT).strip(),
        argv=tuple(argv),
        cwd=cwd,
        environment=environment,
        continuable=chosen.get("continuable", False),
        tag=chosen.get("tag", 0),
        relaunch=chosen.get("relaunch", False),
        properties=parse_properties(chosen.get("unit-properties", ())),
        state_directory=chosen.get("state-directory", ""),
        dropped=dropped,
        connection=connection,
    )
