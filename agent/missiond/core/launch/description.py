# SPDX-License-Identifier: Apache-2.0
"""The launch description of a mission, common to both hosts of a hand-over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from missiond.core.launch import environment
from missiond.core.launch.unit import parse_properties
from missiond.errors import InvalidParameter, PermissionDenied

MAX_LIST = 64 * 1024
"""Bytes of all arguments, and of all variables, with the NUL of each."""
MAX_VARIABLES = 1000
MAX_ARGUMENTS = 4096
MAX_PATH = 4095
"""Bytes of a path without the NUL (PATH_MAX, limits.h)."""
MAX_TEXT = 4096
"""Bytes of a label or an icon."""
MAX_UMASK = 0o777

_USER = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,254}\$?)?", re.ASCII)
_STATE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}){0,3}", re.ASCII)
_APPLICATION = 255


@dataclass(frozen=True, slots=True)
class LaunchDescription:
    """Program, user and place of a start, made and checked by `make` or `parse`.

    `environment` has `NAME=VALUE` entries, `properties` `Name=NUMBER` ones. An empty `cwd` is the home of the
    user, an empty `user` whoever has the mission. `state_directory` is relative to the user's state directory
    (StateDirectory= in systemd.exec(5)).
    """

    argv: tuple[str, ...]
    cwd: str = ""
    environment: tuple[str, ...] = ()
    user: str = ""
    properties: tuple[str, ...] = ()
    state_directory: str | None = None
    label: str = ""
    icon: str = ""
    tag: int = 0
    app_id: str = ""
    umask: int | None = None
    """Permission bits cleared in new files (umask(2)); None leaves the choice to the service manager."""

    @property
    def executable(self) -> str:
        """Path of the program."""
        return self.argv[0]

    def mapping(self) -> dict[str, Any]:
        """Return a JSON-compatible dict; the inverse of `parse`.

        An umask of None is left out: earlier versions refuse unknown members.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.umask is None:
            del values["umask"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def make(description: LaunchDescription) -> tuple[LaunchDescription, tuple[str, ...]]:
    """Check a description, and return one without forbidden variables, and the names of these.

    Raises InvalidParameter, which says what is wrong.
    """
    check_command(description.argv, description.cwd)
    kept, dropped = check_environment(description.environment)
    for name in ("label", "icon"):
        _check_text(name, getattr(description, name), MAX_TEXT)
    _check_text("app_id", description.app_id, _APPLICATION * 4)
    if not _USER.fullmatch(description.user):
        raise InvalidParameter(f"{description.user!r:.60} is not the name of a user")
    if not -(2**31) <= description.tag < 2**31:
        raise InvalidParameter("a tag is a 32-bit number")
    check_state_directory(description.state_directory)
    check_umask(description.umask)
    listed = parse_properties(description.properties)
    return replace(description, environment=kept, properties=listed), dropped


def parse(data: object) -> tuple[LaunchDescription, tuple[str, ...]]:
    """Read a `mapping` of this or another host; as `make`. Raises InvalidParameter."""
    if not isinstance(data, Mapping):
        raise InvalidParameter("a launch description is a mapping")
    known = {field.name: str(field.type) for field in fields(LaunchDescription)}
    unknown = sorted(str(key) for key in data if key not in known)
    if unknown or "argv" not in data:
        raise InvalidParameter(f"not a launch description: {unknown[0] if unknown else 'argv'!r:.60}")
    values: dict[str, Any] = {name: _typed(name, known[name], value) for name, value in data.items()}
    return make(LaunchDescription(**values))


def check_command(argv: Sequence[str], cwd: str) -> None:
    """Check command and directory of a mission for another host; raises InvalidParameter.

    Newlines and every other character but NUL are an argument's own business.
    """
    if not argv:
        raise InvalidParameter("argv is empty; it names the program and its arguments")
    if len(argv) > MAX_ARGUMENTS:
        raise InvalidParameter(f"argv has more than {MAX_ARGUMENTS} arguments")
    check_list("argv", argv)
    _check_path("the program, argv[0],", argv[0])
    if cwd:
        _check_path("cwd", cwd)


def check_environment(entries: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the variables to take along, and the names of the others; raises InvalidParameter."""
    if len(entries) > MAX_VARIABLES:
        raise InvalidParameter(f"environment has {len(entries)} entries; at most {MAX_VARIABLES} go along")
    check_list("environment", entries)
    for entry in entries:
        if entry.find("=") < 1:
            raise InvalidParameter(f"{entry!r:.60} in environment is not NAME=VALUE")
    return environment.sift(entries)


def check_state_directory(name: str | None) -> None:
    """Raise InvalidParameter for anything but a relative path of plain names."""
    if name is not None and not _STATE.fullmatch(name):
        raise InvalidParameter(f"{name!r:.60} is no state directory; give a name without a leading / or ..")


def check_umask(umask: object) -> int | None:
    """Return a valid umask, or None; raises InvalidParameter."""
    if umask is not None and (type(umask) is not int or not 0 <= umask <= MAX_UMASK):
        raise InvalidParameter(f"{umask!r:.40} is no umask; it is a number from 0 to {MAX_UMASK} (octal 777)")
    return umask


def check_list(name: str, items: Sequence[str]) -> None:
    """Check the length of a list of texts; raises InvalidParameter."""
    size = 0
    for item in items:
        if "\0" in item:
            raise InvalidParameter(f"{name} has a NUL, which no program can be given")
        size += len(_encoded(name, item)) + 1
    if size > MAX_LIST:
        raise InvalidParameter(f"{name} is longer than {MAX_LIST} bytes in all")


def _check_path(name: str, path: str) -> None:
    _check_text(name, path, MAX_PATH)
    if not path.startswith("/"):
        raise InvalidParameter(f"{name} is {path!r:.60}; give an absolute path, which is the same everywhere")


def _check_text(name: str, text: str, most: int) -> None:
    if "\0" in text:
        raise InvalidParameter(f"{name} has a NUL")
    if len(_encoded(name, text)) > most:
        raise InvalidParameter(f"{name} is longer than {most} bytes")


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(f"{name} is not Unicode text") from None


def _typed(name: str, kind: str, value: object) -> object:
    if kind == "tuple[str, ...]":
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif kind.startswith("int"):
        if type(value) is int or (value is None and kind == "int | None"):
            return value
    elif isinstance(value, str) or (value is None and kind == "str | None"):
        return value
    raise InvalidParameter(f"{name} of a launch description is no {kind}")


NOBODY = "-"
"""User here, in the table, for refused missions."""


def user_here(user_there: str, table: Mapping[str, str]) -> str:
    """Return the user here: from the table, else the table's `*`, else the same name.

    Raises PermissionDenied where that is nobody.
    """
    here = table.get(user_there) or table.get("*") or user_there
    if not here or here == NOBODY:
        raise PermissionDenied(
            f"missions of {user_there!r:.60} do not go on here; see [Continue] UserMap= in missiond.conf(5)"
        )
    return here
