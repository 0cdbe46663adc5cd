# SPDX-License-Identifier: Apache-2.0
"""Which logind lock stands for a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from missiond.core.missions.printable import shown
from missiond.core.schema import BadValue, Checked, Words
from missiond.core.tasks.modes import BackgroundMode, Modes
from missiond.errors import InvalidParameter

WHAT_ORDER = ("sleep", "idle", "handle-lid-switch", "shutdown")
"""What a lock can stand against (org.freedesktop.login1(5)), in the order in which it is written."""

INHIBIT = ("idle", "shutdown", "handle-lid-switch")
"""What a task may ask for beside the lock on sleep."""

MAX_WHO = 128
MAX_WHY = 256

What = tuple[str, ...]
WhatTable = Mapping[BackgroundMode, What]


def _some(what: What) -> What:
    if not what:
        raise BadValue("no lock")
    return what


def ordered(items: Iterable[str]) -> What:
    """Without duplicates, in WHAT_ORDER."""
    wanted = set(items)
    return tuple(item for item in WHAT_ORDER if item in wanted)


Locks = Annotated[tuple[Annotated[str, Words(WHAT_ORDER)], ...], Checked(_some)]
"""At least one."""
Inhibit = Annotated[tuple[Annotated[str, Words(INHIBIT)], ...], Checked(ordered)]


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
    head = shown(text[: limit + 1], lambda _: " ")
    return head if len(text) <= limit else head[: limit - 1] + "…"


def what_for(modes: Modes, table: WhatTable, more: Iterable[str] = ()) -> What:
    """Everything that any of the modes asks for, and `more`; `sleep` is always part of it."""
    return ordered(["sleep", *more, *(item for mode in modes for item in table.get(mode, ()))])


def parse_inhibit(items: Iterable[str]) -> What:
    """What a task wants locked beside what its modes lock; duplicates fold. Raises InvalidParameter."""
    found = set()
    for item in items:
        if item not in INHIBIT:
            raise InvalidParameter(f"inhibit has an unknown {item[:40]!r}; it takes {', '.join(INHIBIT)}")
        found.add(item)
    return ordered(found)
