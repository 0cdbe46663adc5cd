# SPDX-License-Identifier: Apache-2.0
"""Output for people: columns, spans of time, names of users."""

from __future__ import annotations

import json
import pwd
import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from missiond.config.units import format_span
from missiond.core.missions.printable import shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return left-aligned columns, two spaces apart; the last column is not padded."""
    lines = [header, *([safe(cell) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header) - 1)] + [0]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def safe(text: str) -> str:
    """Return another user's text without control characters."""
    return shown(text, lambda _: "\N{REPLACEMENT CHARACTER}")


def span(milliseconds: int) -> str:
    """For example `2min 41s`; to the second from a second up."""
    return format_span(milliseconds if milliseconds < 1000 else milliseconds // 1000 * 1000)


def milliseconds(seconds: float) -> int:
    """Return seconds of the client as ms, the agent's unit."""
    return round(seconds * 1000)


def microseconds(when: datetime | None) -> int | None:
    """Return a moment as µs since the epoch; None where there is none."""
    return None if when is None else (when - _EPOCH) // timedelta(microseconds=1)


@cache
def user(uid: int) -> str:
    """Return the user's name, or the number of one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def fields_of(found: DataclassInstance) -> dict[str, object]:
    """Return the public fields of a dataclass by name, in order."""
    return {each.name: getattr(found, each.name) for each in fields(found) if not each.name.startswith("_")}


def print_json(value: object) -> None:
    """One JSON document."""
    print(json_text(value, indent=2))


def json_text(value: object, indent: int | None = None) -> str:
    """Return JSON without control characters, in the terminal's charset; one line without `indent`."""
    charset = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    text = json.dumps(value, indent=indent, ensure_ascii=not charset.startswith("utf"))
    return "\n".join(shown(line, _escaped) for line in text.split("\n"))


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1]
