# SPDX-License-Identifier: Apache-2.0
"""Names of the units of continued missions.

`app-missiond-<ApplicationID>@<TRANSFER>.service` is what systemd's "Desktop Environment Integration" wants of
an application: whoever lists missions finds one, of that application.
"""

from __future__ import annotations

import re

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
