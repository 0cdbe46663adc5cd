# SPDX-License-Identifier: Apache-2.0
"""Errors of a client without an answer, and exceptions for error replies."""

from __future__ import annotations

import os
import sys
import warnings
from contextvars import ContextVar
from enum import Enum

from missiond.errors import Error, Failed, NotFound, PermissionDenied, from_name

_FREEDESKTOP = "org.freedesktop.DBus.Error."
_ABSENT = {
    _FREEDESKTOP + name
    for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "TimedOut")
}
_NO_OBJECT = {_FREEDESKTOP + name for name in ("UnknownObject", "UnknownInterface")}
_ALIAS_OF_MASKED = _FREEDESKTOP + "FileExists"
"""Answer of systemd about the unit of the bus name, an alias, where the service itself is masked."""
_ACTIVATION = (_FREEDESKTOP + "Spawn.", "org.freedesktop.systemd1.")


held_back: ContextVar[list[Error] | None] = ContextVar("held_back", default=None)
"""Errors for warnings in the program's own thread, after a blocking call."""
_warned: set[type[Error]] = set()


class Missing(Enum):
    """Missing part behind an Unreachable error."""

    BUS = "bus"
    AGENT = "agent"
    UNIT = "unit"
    """The agent can't be started: the unit is masked."""
    CONNECTION = "connection"
    """The bus takes no further connection of this user."""
    ANSWER = "answer"
    """The agent runs, but does not answer in time."""


class Unreachable(Error, ConnectionError):
    """There is no bus, no agent on the bus, or no answer in time; `missing` tells the case."""

    def __init__(self, text: str, missing: Missing = Missing.AGENT) -> None:
        super().__init__(text)
        self.missing = missing


class NotKeptAwake(RuntimeWarning):
    """Warning of a program without a task, by `required=False`."""


def exception_for(name: str, text: str, bus: str = "system bus") -> Error:
    """Return the exception for an error reply; Failed for a reply of somebody else."""
    if name in _ABSENT or name == _ALIAS_OF_MASKED or name.startswith(_ACTIVATION):
        masked = name == _ALIAS_OF_MASKED or "masked" in f"{name} {text}".lower()
        missing = Missing.UNIT if masked else Missing.AGENT
        return Unreachable(f"there is no agent on the {bus} ({text})", missing)
    if name == _FREEDESKTOP + "AccessDenied":
        return PermissionDenied(f"the bus does not let this user make the call ({text})")
    if name in _NO_OBJECT:
        return NotFound("there is no such task, mission or peer, or no longer")
    return from_name(name, text) or Failed(f"{name}: {text}" if text else name)


def warn(error: Error) -> None:
    """Warn of a host without a task to stay awake, once for each kind of error."""
    later = held_back.get()
    if later is not None:
        later.append(error)
    elif type(error) not in _warned:
        _warned.add(type(error))
        text = f"nothing keeps this host awake: {error.text}"
        warnings.warn(text, NotKeptAwake, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the stack level of the code that uses this package, without this package and asyncio."""
    import asyncio  # noqa: PLC0415 (a name such as missiond.Denied costs no event loop)

    inside = tuple(os.path.dirname(file) for file in (__file__, asyncio.__file__))  # noqa: PTH120
    level, frame = 0, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        level, frame = level + 1, frame.f_back
    return level + 1
