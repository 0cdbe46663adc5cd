# SPDX-License-Identifier: Apache-2.0
"""The paths of cgroups in requests to the helper, all below the root of the hierarchy, without "/".

systemd.special(7) and logind have given the names: user.slice/user-UID.slice/session-ID.scope and the like.
"""

from __future__ import annotations

import re

KEEPER = "missiond-keep@{}.service"
"""The unit below a user's slice for survivors of a logout; the instance is the uid."""

KEEPERS = "user.slice/user-*.slice/missiond-keep@*.service"
"""Pattern of these units' paths."""

_SLICE = re.compile(r"user\.slice/user-([1-9][0-9]{0,9})\.slice/", re.ASCII)
_SESSION = re.compile(r"session-[A-Za-z0-9]{1,32}\.scope", re.ASCII)
_GROUP = re.compile(r"[1-9][0-9]{0,9}-[1-9][0-9]{0,19}", re.ASCII)
_NAME_MAX = 255


def check_plain(path: str) -> None:
    """Raise ValueError unless the path is a relative one without detours."""
    if any(not _is_plain(part) for part in path.split("/")):
        raise ValueError("not a plain path")


def check_below_user(path: str) -> None:
    """Raise ValueError unless the path is below the slice of a user other than root."""
    check_plain(path)
    if user_of(path) is None:
        raise ValueError("not below the slice of a user")


def check_killable(path: str) -> None:
    """Raise ValueError unless the path is a service or scope of a user's manager, or a kept group.

    A user could kill as much alone: the manager's cgroups are that user's. Sessions are logind's, with what
    sudo and sshd run for root in them, and the manager itself (init.scope) is all that a user has.
    """
    check_below_user(path)
    if is_group(path):
        return
    _, of_user, manager, *inner = path.split("/")
    if f"user-{manager.removeprefix('user@').removesuffix('.service')}.slice" != of_user:
        raise ValueError("not below a user's manager")
    if not inner or not inner[-1].endswith((".scope", ".service")) or is_manager(path):
        raise ValueError("not a service or scope")


def is_manager(path: str) -> bool:
    """Whether the path is the place of a user's manager (init.scope), or below."""
    parts = path.split("/")
    return user_of(path) is not None and len(parts) > 3 and parts[3] == "init.scope"


def check_session(path: str) -> None:
    """Raise ValueError unless the path is a login session of the slice's user."""
    match = _SLICE.match(path)
    if match is None or not _SESSION.fullmatch(path, match.end()):
        raise ValueError("not a login session")


def check_group(name: str) -> None:
    """Raise ValueError unless the name is a kept group's: pid and start time of the owner."""
    if not _GROUP.fullmatch(name):
        raise ValueError("not a group")


def check_kept(path: str) -> None:
    """Raise ValueError unless the path is a kept group."""
    if keeper_of(path.rpartition("/")[0] + "/") is None:
        raise ValueError("not a group of what is kept")
    check_group(path.rpartition("/")[2])


def check_in_unit(path: str) -> None:
    """Raise ValueError unless the path is a unit of processes, or in one; a service manager is none."""
    check_plain(path)
    parts = path.split("/")
    last = parts[-1]
    in_unit = any(part.endswith((".service", ".scope")) and not part.startswith("user@") for part in parts)
    if not in_unit or last == "init.scope":
        raise ValueError("not in a unit")


def is_group(path: str) -> bool:
    """Whether the path is a kept group."""
    try:
        check_kept(path)
    except ValueError:
        return False
    return True


def keeper(uid: int) -> str:
    """Return the path of a user's kept groups."""
    return f"user.slice/user-{uid}.slice/{KEEPER.format(uid)}"


def keeper_of(path: str) -> int | None:
    """Return the uid of a path below a keeper; with a slash at the end the keeper counts, too."""
    match = _SLICE.match(path)
    if match is None or not path.startswith(keeper(int(match[1])) + "/"):
        return None
    return int(match[1])


def user_of(path: str) -> int | None:
    """Return the uid of the slice above a path; None where there is none."""
    match = _SLICE.match(path)
    return None if match is None else int(match[1])


def session_of(path: str) -> tuple[int, str] | None:
    """Return uid and path of the login session, where a path is one or in one."""
    match = _SLICE.match(path)
    if match is None:
        return None
    session = match[0] + path[match.end() :].partition("/")[0]
    try:
        check_session(session)
    except ValueError:
        return None
    return int(match[1]), session


def _is_plain(part: str) -> bool:
    return (
        part not in ("", ".", "..")
        and "\0" not in part
        and len(part.encode("utf-8", "surrogateescape")) <= _NAME_MAX
    )
