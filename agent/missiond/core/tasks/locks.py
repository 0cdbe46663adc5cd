# SPDX-License-Identifier: Apache-2.0
"""Locks of logind for tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from missiond.core.missions.printable import shown
from missiond.core.schema import BadValue, Checked, Words
from missiond.core.tasks.modes import BackgroundMode, Modes
from missiond.errors import InvalidParameter

WHAT_ORDER = ("sleep", "idle", "handle-lid-switch", "shutdown")
"""Items of a lock (org.freedesktop.login1(5)), in written order."""

INHIBIT = ("idle", "shutdown", "handle-lid-switch")
"""Items a task may ask for beside the lock on sleep."""

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
    """Arguments of `Inhibit()` for one block lock of logind."""

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
    """Return all items of the modes and `more`; `sleep` is always among the items."""
    return ordered(["sleep", *more, *(item for mode in modes for item in table.get(mode, ()))])


def parse_inhibit(items: Iterable[str]) -> What:
    """Return the items a task wants locked, without duplicates; raises InvalidParameter."""
    found = set()
    for item in items:
        if item not in INHIBIT:
            raise InvalidParameter(f"inhibit has an unknown {item[:40]!r}; it takes {', '.join(INHIBIT)}")
        found.add(item)
    return ordered(found)
