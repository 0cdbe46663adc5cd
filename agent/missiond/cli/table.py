# SPDX-License-Identifier: Apache-2.0
"""Output for people: columns, spans of time, names of users."""

from __future__ import annotations

import json
import pwd
from collections.abc import Sequence
from functools import cache

from missiond.config.units import format_span


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart; the last one is as long as it is."""
    lines = [header, *([safe(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header) - 1)] + [0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def safe(text: str) -> str:
    """Text of another user that cannot control the terminal."""
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    )


def span(milliseconds: int) -> str:
    """For example `2min 41s`; to the second from a second up."""
    return format_span(milliseconds if milliseconds < 1000 else milliseconds // 1000 * 1000)


@cache
def user(uid: int) -> str:
    """Return the user's name, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def print_json(value: object) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
