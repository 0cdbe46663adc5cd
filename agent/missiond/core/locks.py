# SPDX-License-Identifier: Apache-2.0
"""Which logind lock stands for a task."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from missiond.core.modes import BackgroundMode, Modes

WHAT_ORDER = ("sleep", "idle", "handle-lid-switch", "shutdown")
"""What a lock can stand against (org.freedesktop.login1(5)), in the order in which it is written."""

MAX_WHO = 128
MAX_WHY = 256

What = tuple[str, ...]
WhatTable = Mapping[BackgroundMode, What]


@dataclass(frozen=True, slots=True)
class LockSpec:
    """One logind block lock, as `Inhibit()` takes it."""

    what: What
    who: str
    why: str

    @property
    def what_text(self) -> str:
        """For example `sleep:idle`."""
        return ":".join(self.what)


def printable(text: str, limit: int) -> str:
    """Text on one line for people: control and line-breaking characters become spaces; cut to `limit`."""
    head = text[: limit + 1]
    if not head.isprintable():
        head = "".join(c if c == " " or unicodedata.category(c)[0] not in "CZ" else " " for c in head)
    return head if len(text) <= limit else head[: limit - 1] + "…"


def ordered(items: Iterable[str]) -> What:
    """Without duplicates, in WHAT_ORDER."""
    wanted = set(items)
    return tuple(item for item in WHAT_ORDER if item in wanted)


def what_for(modes: Modes, table: WhatTable) -> What:
    """Everything that any of the modes asks for; `sleep` is always part of it."""
    return ordered(["sleep", *(item for mode in modes for item in table.get(mode, ()))])
