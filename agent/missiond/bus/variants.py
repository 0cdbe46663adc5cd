# SPDX-License-Identifier: Apache-2.0
"""Plain Python values from and to D-Bus variants, and strict `a{sv}` options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from missiond.bus.library import Variant
from missiond.bus.wire.encode import EncodeError, encode
from missiond.bus.wire.signature import Value
from missiond.errors import InvalidParameter

_SHOWN = 64
_TYPE_WORDS = {
    "s": "a string",
    "u": "an unsigned 32-bit number",
    "i": "a 32-bit number",
    "t": "an unsigned 64-bit number",
    "x": "a 64-bit number",
    "b": "a boolean",
    "d": "a floating-point number",
    "as": "a list of strings",
    "a{sv}": "a dictionary",
}


def variant(signature: str, value: Value) -> Variant:
    """Wrap a value; inner values of type `v` must be Variants already.  Raises EncodeError (a TypeError).

    Tuples pass for structs and arrays.
    """
    encode(signature, (value,))
    return _lists(signature, value)


def _lists(signature: str, value: Value) -> Variant:
    return Variant(signature, _listed(value) if "(" in signature or "a" in signature else value)


def _listed(value: Value) -> Value:
    """Turn tuples into lists, as the libraries want them."""
    if isinstance(value, list | tuple):
        return [_listed(member) for member in value]
    if isinstance(value, dict):
        return {key: _listed(member) for key, member in value.items()}
    return value


def unwrap(value: Value) -> Value:
    """Replace every Variant, however deep, by its plain value; structs are lists."""
    if isinstance(value, Variant):
        return unwrap(value.value)
    if isinstance(value, list | tuple):
        return [unwrap(member) for member in value]
    if isinstance(value, dict):
        return {key: unwrap(member) for key, member in value.items()}
    return value


def parse_options(options: Mapping[str, Variant], allowed: Mapping[str, str]) -> dict[str, Any]:
    """Check an `a{sv}` argument against `allowed` (key to signature) and return plain values.

    Raises InvalidParameter, which names the key and the expected type.
    """
    if not options:
        return {}
    parsed = {}
    for key, value in options.items():
        signature = allowed.get(key)
        if signature is None:
            known = ", ".join(sorted(allowed)) or "none"
            raise InvalidParameter(f"unknown option '{shown(key)}'; known options: {known}")
        if value.signature != signature:
            words = _TYPE_WORDS.get(signature)
            expected = f"{words} ({signature})" if words else f"type {signature}"
            raise InvalidParameter(f"option '{key}' takes {expected}, got type {shown(value.signature)}")
        parsed[key] = unwrap(value)
    return parsed


def shown(text: str) -> str:
    """Shorten text of a caller and escape what is not printable, for use in a message or log line."""
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]


__all__ = ["EncodeError", "parse_options", "shown", "unwrap", "variant"]
