# SPDX-License-Identifier: Apache-2.0
"""Errors of the client: those of `missiond.errors`, and what there is when nobody answers."""

from __future__ import annotations

from enum import Enum

from missiond.errors import (
    AgentError,
    Busy,
    Code,
    Denied,
    Error,
    Failed,
    Invalid,
    NotFound,
    PermissionDenied,
    Refused,
    from_name,
)

_FREEDESKTOP = "org.freedesktop.DBus.Error."
_ABSENT = {
    _FREEDESKTOP + name
    for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "TimedOut")
}
_NO_OBJECT = {_FREEDESKTOP + name for name in ("UnknownObject", "UnknownInterface")}
_ACTIVATION = (_FREEDESKTOP + "Spawn.", "org.freedesktop.systemd1.")


class Missing(Enum):
    """What an Unreachable error found missing."""

    BUS = "bus"
    AGENT = "agent"
    UNIT = "unit"
    """The agent may not be started: its unit is masked."""
    ANSWER = "answer"
    """The agent runs, but does not answer in time."""


class Unreachable(Error, ConnectionError):
    """There is no bus, no agent on it, or no answer in time; `missing` says which."""

    def __init__(self, text: str, missing: Missing = Missing.AGENT) -> None:
        super().__init__(text)
        self.missing = missing


class NotKeptAwake(RuntimeWarning):
    """Warning: the program runs without what it asked for, as it asked for with `required=False`."""


def exception_for(name: str, text: str, bus: str = "system bus") -> Error:
    """Return the exception that an error reply stands for; Failed for one that is not the agent's."""
    if name in _ABSENT or name.startswith(_ACTIVATION):
        missing = Missing.UNIT if "masked" in f"{name} {text}".lower() else Missing.AGENT
        return Unreachable(f"there is no agent on the {bus} ({text})", missing)
    if name == _FREEDESKTOP + "AccessDenied":
        return PermissionDenied(f"the bus does not let this user make the call ({text})")
    if name in _NO_OBJECT:
        return NotFound(f"it is not there, or not any more ({text})")
    return from_name(name, text) or Failed(f"{name}: {text}" if text else name)


__all__ = [
    "AgentError",
    "Busy",
    "Code",
    "Denied",
    "Error",
    "Failed",
    "Invalid",
    "Missing",
    "NotFound",
    "NotKeptAwake",
    "PermissionDenied",
    "Refused",
    "Unreachable",
    "exception_for",
]
