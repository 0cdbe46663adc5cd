# SPDX-License-Identifier: Apache-2.0
"""What the README shows, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_LINE = re.compile(r"^    (?:(\w+) )?[#$] (missionctl .*)\n((?:    (?!\w* ?[#$] ).*\n)*)", re.MULTILINE)
_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{16}|[0-9a-f]{4}\.\.)")
_CODE = re.compile(r"\b\d{3} \d{3}\b")


class Shown(NamedTuple):
    """A command, the host at whose prompt it stands, and the lines that it prints there."""

    host: str
    command: list[str]
    prints: list[str]


def section(title: str) -> str:
    """Text below a heading."""
    return (ROOT / "README.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def session(title: str) -> list[Shown]:
    """The calls of missionctl in a section."""
    return [
        Shown(host, command.split(), [line.strip() for line in prints.splitlines()])
        for host, command, prints in _LINE.findall(section(title))
    ]


def alike(line: str) -> str:
    """Return a line as it is on every host: without its own ids and codes."""
    return _CODE.sub("CODE", _ID.sub("ID", line.strip())).rstrip(".")
