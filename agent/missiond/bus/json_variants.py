# SPDX-License-Identifier: Apache-2.0
"""What JSON can express, as the variants of an `a{sv}`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from missiond.bus.library import Variant
from missiond.bus.variants import unwrap, variant

_I32, _I63 = 2**31, 2**63


def to_variants(values: Mapping[str, Any]) -> dict[str, Variant]:
    """Wrap each value: numbers in the narrowest of `i`, `x` and `t` that has them; null is left out."""
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
