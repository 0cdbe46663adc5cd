# SPDX-License-Identifier: Apache-2.0
"""The unit properties of a mission on the move: limits and weights, each a whole number.

Nothing that runs, reads or writes anything, and nothing that gives the program more than its user has
(systemd.resource-control(5), systemd.exec(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from missiond.errors import InvalidParameter

_BYTES = (1 << 20, 2**63 - 1)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Kind:
    signature: str
    least: int
    most: int


ALLOWED = {
    "MemoryMax": _Kind("t", *_BYTES),
    "MemoryHigh": _Kind("t", *_BYTES),
    "MemorySwapMax": _Kind("t", 0, 2**63 - 1),
    "TasksMax": _Kind("t", 1, 2**22),
    "CPUWeight": _Kind("t", 1, 10_000),
    "IOWeight": _Kind("t", 1, 10_000),
    "Nice": _Kind("i", 0, 19),
    "OOMScoreAdjust": _Kind("i", 0, 1000),
}
"""Name, D-Bus type and range; memory is bytes."""


def parse(entries: Iterable[str]) -> tuple[str, ...]:
    """Check `Name=NUMBER` entries, each name at most once; raises InvalidParameter."""
    found: dict[str, str] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        kind = ALLOWED.get(name)
        if kind is None or name in found:
            raise InvalidParameter(f"{name!r:.40} is there twice, or is none of {', '.join(ALLOWED)}")
        if not _NUMBER.fullmatch(text) or not kind.least <= int(text) <= kind.most:
            raise InvalidParameter(f"{name} takes a whole number from {kind.least} to {kind.most}")
        found[name] = text
    return tuple(f"{name}={text}" for name, text in found.items())


def typed(entries: Iterable[str]) -> list[tuple[str, str, int]]:
    """Return name, D-Bus type and value of the entries returned by `parse`."""
    pairs = (entry.partition("=") for entry in entries)
    return [(name, ALLOWED[name].signature, int(text)) for name, _, text in pairs]
