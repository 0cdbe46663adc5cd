# SPDX-License-Identifier: Apache-2.0
"""Details of a mission (an `a{sv}` of the bus) between hosts: every value beside the D-Bus type."""

from __future__ import annotations

from typing import Annotated, Any

from missiond.core.link.checks import BadMessage, Name
from missiond.core.schema import I32, U32, U64, Length, Range, check_of

Values = dict[str, tuple[str, Any]]
"""Key to (signature, plain value); the value of `a{sv}` is again Values, of `as` a list of str."""

MAX_KEYS = 256
MAX_TEXT = 64 * 1024
MAX_STRINGS = 8192
MAX_DEPTH = 4
"""Dictionaries within one another."""

_key = check_of(Name)
_Text = Annotated[str, Length(MAX_TEXT)]
_CHECKS = {
    signature: check_of(each)
    for signature, each in {
        "b": bool,
        "y": Annotated[int, Range(0, 255)],
        "n": Annotated[int, Range(-(2**15), 2**15 - 1)],
        "q": Annotated[int, Range(0, 2**16 - 1)],
        "i": Annotated[int, Range(-I32 - 1, I32)],
        "u": Annotated[int, Range(0, U32)],
        "x": int,
        "t": Annotated[int, Range(0, U64)],
        "d": float,
        "s": _Text,
        "as": Annotated[list[_Text], Length(MAX_STRINGS)],
    }.items()
}
SIGNATURES = frozenset({*_CHECKS, "a{sv}"})
"""The types between hosts; values of other types are left out of answers."""


def accept(found: object, depth: int = MAX_DEPTH) -> Values:
    """Return details from another host; raises BadMessage for no details."""
    if type(found) is not dict or len(found) > MAX_KEYS or depth == 0:
        raise BadMessage("details that are not a dictionary, too many or too deep")
    return {_key(key): _pair(pair, depth) for key, pair in found.items()}


def _pair(pair: object, depth: int) -> tuple[str, Any]:
    if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str:
        raise BadMessage("a detail that is not a type and a value")
    signature, value = pair
    if signature == "a{sv}":
        return signature, accept(value, depth - 1)
    check = _CHECKS.get(signature)
    if check is None:
        raise BadMessage("a detail of a type that does not travel")
    return signature, check(value)
