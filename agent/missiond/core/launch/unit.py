# SPDX-License-Identifier: Apache-2.0
"""The units of continued missions: names, and properties taken along.

`app-missiond-<ApplicationID>@<TRANSFER>.service` is what systemd's "Desktop Environment Integration" wants of
an application: whoever lists missions finds one, of that application.

Properties are limits and weights, each a whole number: nothing that runs, reads or writes anything, and
nothing that gives the program more than its user has (systemd.resource-control(5), systemd.exec(5)).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from missiond.errors import InvalidParameter

_TRANSFER = re.compile(r"[0-9a-f]{32}", re.ASCII)
_UNIT = re.compile(r"app-missiond-(?:[A-Za-z0-9_.]|\\x[0-9a-f]{2}){1,160}@([0-9a-f]{32})\.service", re.ASCII)
_PLAIN = re.compile(rb"[A-Za-z0-9_.]")
_LONGEST = 160


def unit_name(app_id: str, transfer: str) -> str:
    r"""Name the unit of a hand-over; characters not allowed in a name become `\xHH` (systemd-escape(1)).

    Raises ValueError where `transfer` is not 32 lower-case hexadecimal digits.
    """
    if not is_transfer(transfer):
        raise ValueError(f"{transfer!r:.60} names no hand-over")
    parts: list[str] = []
    length = 0
    for byte in (app_id or "mission").encode():
        raw = bytes((byte,))
        part = raw.decode() if _PLAIN.fullmatch(raw) else f"\\x{byte:02x}"
        length += len(part)
        if length > _LONGEST:
            break
        parts.append(part)
    return f"app-missiond-{''.join(parts)}@{transfer}.service"


def transfer_of(unit: str) -> str | None:
    """Return the hand-over of a unit; None for other units."""
    match = _UNIT.fullmatch(unit)
    return match[1] if match else None


def is_transfer(text: str) -> bool:
    """Whether a text is the id of a hand-over."""
    return _TRANSFER.fullmatch(text) is not None


_BYTES = (1 << 20, 2**63 - 1)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Property:
    signature: str
    least: int
    most: int


ALLOWED = {
    "MemoryMax": _Property("t", *_BYTES),
    "MemoryHigh": _Property("t", *_BYTES),
    "MemorySwapMax": _Property("t", 0, 2**63 - 1),
    "TasksMax": _Property("t", 1, 2**22),
    "CPUWeight": _Property("t", 1, 10_000),
    "IOWeight": _Property("t", 1, 10_000),
    "Nice": _Property("i", 0, 19),
    "OOMScoreAdjust": _Property("i", 0, 1000),
}
"""Name, D-Bus type and range; memory is bytes."""


def parse_properties(entries: Iterable[str]) -> tuple[str, ...]:
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


def typed_properties(entries: Iterable[str]) -> list[tuple[str, str, int]]:
    """Return name, D-Bus type and value of the entries returned by `parse_properties`."""
    pairs = (entry.partition("=") for entry in entries)
    return [(name, ALLOWED[name].signature, int(text)) for name, _, text in pairs]
