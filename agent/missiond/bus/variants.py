# SPDX-License-Identifier: Apache-2.0
"""Plain Python values from and to D-Bus variants, and strict `a{sv}` options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from missiond.bus.library import Variant
from missiond.bus.wire.encode import encode
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
    """Replace every Variant, however deep, by a plain value; structs are lists."""
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
    """Shorten text of a caller for a message or log line, with unprintable characters escaped."""
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    return text if text.isprintable() else ascii(text)[1:-1]


_I32, _I63 = 2**31, 2**63


def to_variants(values: Mapping[str, Any]) -> dict[str, Variant]:
    """Wrap each value: numbers in the narrowest of `i`, `x` and `t`; null is left out."""
    return {key: _wrap(value) for key, value in values.items() if value is not None}


def from_variants(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values; bytes are a list of numbers."""
    return {key: _plain(unwrap(value)) for key, value in values.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 (anything)
    if isinstance(value, bytes | bytearray):
        return list(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value


def _wrap(value: Any) -> Variant:  # noqa: ANN401 (anything)
    if isinstance(value, bool):
        return variant("b", value)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, dict):
        return variant("a{sv}", to_variants(value))
    if isinstance(value, list):
        if value and all(isinstance(each, str) for each in value):
            return variant("as", value)
        return variant("av", [_wrap(each) for each in value if each is not None])
    return variant("s", str(value))


def _number(value: float) -> Variant:
    if isinstance(value, int):
        if -_I32 <= value < _I32:
            return variant("i", value)
        if -_I63 <= value < _I63:
            return variant("x", value)
        if 0 <= value < 2 * _I63:
            return variant("t", value)
    return variant("d", float(value))
