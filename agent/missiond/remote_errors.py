# SPDX-License-Identifier: Apache-2.0
"""D-Bus errors as the exceptions that a client raises."""

from __future__ import annotations

from missiond.bus.connection import RemoteError
from missiond.errors import ERROR_PREFIX, AgentError, Code, PermissionDenied

_FREEDESKTOP = "org.freedesktop.DBus.Error."
_ABSENT = {
    _FREEDESKTOP + name
    for name in ("ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "TimedOut")
}
_ACTIVATION = (_FREEDESKTOP + "Spawn.", "org.freedesktop.systemd1.")


class AgentUnreachable(ConnectionError):
    """No bus, no agent on it, or no answer in time."""


def exception_for(name: str, text: str, bus: str = "system bus") -> Exception:
    """Return the AgentError, AgentUnreachable or (not of the agent) RemoteError that an error reply means."""
    if name in _ABSENT or name.startswith(_ACTIVATION):
        return AgentUnreachable(f"there is no agent on the {bus} ({text})")
    if name == _FREEDESKTOP + "AccessDenied":
        return PermissionDenied(f"the bus does not let this user make the call ({text})")
    codes = {code.dbus_name: code for code in Code}
    if name not in codes:
        return RemoteError(name, text)
    return agent_error(codes[name], text.removeprefix(f"{int(codes[name])}: "))


def agent_error(number: int, text: str) -> AgentError:
    """Return the error that a code stands for; DistributedServiceFailed for one that is unknown here."""
    code = Code(number) if number in set(Code) else Code.DISTRIBUTED_SERVICE_FAILED
    known = {kind.code: kind for kind in AgentError.__subclasses__()}
    kind: type[AgentError] = known.get(code) or type(
        code.dbus_name.removeprefix(ERROR_PREFIX), (AgentError,), {"code": code}
    )
    return kind(text)
