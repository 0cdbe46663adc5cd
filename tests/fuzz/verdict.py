# SPDX-License-Identifier: Apache-2.0
"""What an answer of the agent may look like."""

from __future__ import annotations

from fuzz.calls import METHODS, Call
from missiond.bus import standard
from missiond.bus.wire import message
from missiond.errors import Code

_OURS = {code.dbus_name: int(code) for code in Code}
_STANDARD = {
    standard.UNKNOWN_OBJECT,
    standard.UNKNOWN_INTERFACE,
    standard.UNKNOWN_METHOD,
    standard.UNKNOWN_PROPERTY,
    standard.PROPERTY_READ_ONLY,
    standard.INVALID_ARGS,
    standard.FILE_NOT_FOUND,  # no machine id
}
_FROM_THE_BUS = {
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.LimitsExceeded",
}
_NEVER = ("Traceback", "internal error", ".py", "/missiond/bus", "object at 0x", "<missiond")
_LONGEST = 1000


def judge(call: Call, answer: message.Incoming) -> str | None:
    """What is wrong with the answer; None where nothing is."""
    if answer.type == message.RETURN:
        return _judge_result(call, answer)
    text = str(answer.body[0]) if answer.signature == "s" else ""
    name = answer.error_name or ""
    if name in _OURS:
        if not text.startswith(f"{_OURS[name]}: "):
            return f"{name} without its code: {text:.200}"
    elif name not in _STANDARD | _FROM_THE_BUS:
        return f"not a documented error: {name}: {text:.200}"
    if len(text) > _LONGEST:
        return f"an error of {len(text)} characters"
    found = [word for word in _NEVER if word in text]
    return f"{name}: {text:.300}" if found or not text else None


def _judge_result(call: Call, answer: message.Incoming) -> str | None:
    """The results are those of a method with this name."""
    gives = {
        gives
        for (interface, member), (takes, gives) in METHODS.items()
        if member == call.member and takes == call.signature and call.interface in (None, interface)
    }
    if answer.signature not in gives:
        return f"({answer.signature}) is not what {call.interface}.{call.member} gives"
    try:
        _ = answer.body
    except message.WireError as error:
        return str(error)
    return None
