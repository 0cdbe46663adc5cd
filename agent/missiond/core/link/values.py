# SPDX-License-Identifier: Apache-2.0
"""Details of a mission (an `a{sv}` of the bus) as they travel: every value beside its D-Bus type."""

from __future__ import annotations

import math
from typing import Any

from missiond.core.link.checks import I32, I63, U32, U64, BadMessage, Check, boolean, number, text

Values = dict[str, tuple[str, Any]]
"""Key to (signature, plain value); the value of `a{sv}` is again Values, that of `as` a list of str."""

MAX_KEYS = 256
MAX_TEXT = 64 * 1024
MAX_STRINGS = 8192
MAX_DEPTH = 4
"""Dictionaries within one another."""

_key = text(255)
_string = text(MAX_TEXT)


def _double(value: object) -> float:
    if type(value) not in (float, int):
        raise BadMessage("not a number")
    assert isinstance(value, float | int)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise BadMessage("a number without end")
    return found


def _strings(value: object) -> list[str]:
    if type(value) is not list or len(value) > MAX_STRINGS:
        raise BadMessage("not a list of strings")
    return [_string(member) for member in value]


_CHECKS: dict[str, Check] = {
    "b": boolean,
    "y": number(0, 255),
    "n": number(-(2**15), 2**15 - 1),
    "q": number(0, 2**16 - 1),
    "i": number(-I32 - 1, I32),
    "u": number(0, U32),
    "x": number(-I63 - 1, I63),
    "t": number(0, U64),
    "d": _double,
    "s": _string,
    "as": _strings,
}
SIGNATURES = frozenset({*_CHECKS, "a{sv}"})
"""The types that travel; anything else is left out by who answers."""


def accept(found: object, depth: int = MAX_DEPTH) -> Values:
    """Return details that another host sent; raises BadMessage if they are none."""
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
