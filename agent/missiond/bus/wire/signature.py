# SPDX-License-Identifier: Apache-2.0
"""D-Bus type signatures: splitting and checking (D-Bus specification, "Type System")."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

Value = Any
"""A value of any D-Bus type."""

BASIC = frozenset("ybnqiuxtdhsog")
_MAX_LENGTH = 255
_MAX_DEPTH = 32


class SignatureError(ValueError):
    """Not a valid signature."""


@lru_cache(maxsize=512)
def split(signature: str) -> tuple[str, ...]:
    """Split into complete types: `sa{sv}(uu)` is `s`, `a{sv}` and `(uu)`; raises SignatureError."""
    if len(signature) > _MAX_LENGTH:
        raise SignatureError("signature is longer than 255 bytes")
    types = []
    position = 0
    while position < len(signature):
        end = _end_of_type(signature, position, 0, 0)
        types.append(signature[position:end])
        position = end
    return tuple(types)


def _end_of_type(text: str, position: int, arrays: int, structs: int) -> int:
    if arrays > _MAX_DEPTH or structs > _MAX_DEPTH:
        raise SignatureError(f"signature {text!r} is nested too deeply")
    code = text[position : position + 1]
    if code == "v" or (code and code in BASIC):
        return position + 1
    if code == "a":
        if text[position + 1 : position + 2] == "{":
            return _end_of_entry(text, position + 1, arrays + 1, structs)
        return _end_of_type(text, position + 1, arrays + 1, structs)
    if code == "(":
        return _end_of_struct(text, position, arrays, structs + 1)
    raise SignatureError(f"signature {text!r} is not valid at {position}")


def _end_of_struct(text: str, position: int, arrays: int, structs: int) -> int:
    position = _end_of_type(text, position + 1, arrays, structs)
    while text[position : position + 1] != ")":
        position = _end_of_type(text, position, arrays, structs)
    return position + 1


def _end_of_entry(text: str, position: int, arrays: int, structs: int) -> int:
    key = text[position + 1 : position + 2]
    if not key or key not in BASIC:
        raise SignatureError(f"signature {text!r} has no basic dictionary key at {position}")
    end = _end_of_type(text, position + 2, arrays, structs)
    if text[end : end + 1] != "}":
        raise SignatureError(f"signature {text!r} has an unfinished dictionary at {position}")
    return end + 1
