# SPDX-License-Identifier: Apache-2.0
"""Details of missions: from what the bus carries to what travels between hosts, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from missiond.bus.library import Variant
from missiond.bus.variants import unwrap, variant
from missiond.common.log_limiter import LogLimiter
from missiond.core.link.values import SIGNATURES, Values

_DICTIONARY = "a{sv}"
_throttle = LogLimiter(logging.getLogger(__name__))


def from_bus(details: Mapping[str, Variant]) -> Values:
    """Return what travels of an `a{sv}`; values of other types are left out."""
    values: Values = {}
    for key, each in details.items():
        if each.signature == _DICTIONARY:
            values[key] = (_DICTIONARY, from_bus(each.value))
        elif each.signature in SIGNATURES:
            values[key] = (each.signature, unwrap(each.value))
        else:
            _throttle.warning("%s of a mission is of type %s, which does not travel", key, each.signature)
    return values


def to_bus(values: Values) -> dict[str, Variant]:
    """Return an `a{sv}`."""
    return {key: variant(signature, _plain(signature, value)) for key, (signature, value) in values.items()}


def _plain(signature: str, value: Any) -> Any:  # noqa: ANN401 (what a variant holds)
    return to_bus(value) if signature == _DICTIONARY else value
