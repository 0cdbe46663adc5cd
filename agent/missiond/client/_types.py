# SPDX-License-Identifier: Apache-2.0
"""Values of the client: kinds of work, spans and moments of time, events, and the agent's state."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from missiond.core.tasks.continuous import KEEP_ALIVE, LONGEST, SHORTEST
from missiond.core.tasks.modes import BackgroundMode
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.errors import Invalid

Mode = BackgroundMode
"""Kind of work of a task."""
Modes = Mode | str | Iterable[Mode | str]
"""One kind or several: members of Mode, or names (`data-transfer` or `dataTransfer`)."""
Span = float | timedelta
"""Length of time: seconds, or a timedelta."""
__all__ = [
    "KEEP_ALIVE",
    "LONGEST_TASK",
    "SHORTEST_TASK",
    "AgentStatus",
    "BatteryStatus",
    "Ended",
    "Event",
    "Expiring",
    "GivenUp",
    "Inhibit",
    "KeepAlive",
    "Mode",
    "Modes",
    "QuotaInfo",
    "Resumed",
    "Span",
    "SuspendReason",
    "Suspended",
    "microseconds_of",
    "milliseconds",
    "mode_names",
    "modes_of",
    "moment",
]  # fmt: skip

KeepAlive = Literal["protect", "restart", "none"]
Inhibit = Literal["idle", "shutdown", "handle-lid-switch"]

SHORTEST_TASK, LONGEST_TASK = timedelta(milliseconds=SHORTEST), timedelta(milliseconds=LONGEST)
"""Bounds of `at_most` of a task: a second to a week."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MAX_U32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class BatteryStatus:
    """Power of this host; `percent` is None for an unknown charge."""

    present: bool
    percent: float | None
    on_external_power: bool
    low: bool
    critical: bool


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """State of the agent; `degraded` has a sentence for each missing part of this host."""

    version: str
    degraded: tuple[str, ...]
    battery: BatteryStatus
    transient_tasks: int
    continuous_tasks: int
    suspended_tasks: int
    locks_held: int


@dataclass(frozen=True, slots=True)
class QuotaInfo:
    """Seconds of delays left to an application, and remaining seconds of live delays, by id."""

    remaining: float
    delays: dict[int, float]


@dataclass(frozen=True, slots=True)
class Expiring:
    """Event: a delay ends in `remaining` seconds; finish, or cancel the delay."""

    remaining: float


@dataclass(frozen=True, slots=True)
class Suspended:
    """Event: a task holds no lock for now, for a reason (SuspendReason, or the number of a newer one)."""

    reason: SuspendReason | int
    message: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Event: a suspended task has a lock again."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Event: the service of a task with keep_alive="restart" is not started again; Ended follows."""

    message: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Event: a task or delay is over; no event follows.

    `cause` of a delay: cancelled, expired, owner-exited, battery-low or battery-critical; of a task:
    cancelled (by its user), system (time over, owner gone, service given up) or stopped (by its program); of
    either, lost: the agent was restarted and does not know it any more.
    """

    cause: str


Event = Expiring | Suspended | Resumed | GivenUp | Ended


def mode_names(modes: Modes) -> list[str]:
    """Return the names on the bus; unknown names are passed on, and refused by the agent."""
    several = [modes] if isinstance(modes, str | Mode) else modes
    return [mode.item if isinstance(mode, Mode) else _camel_case(mode) for mode in several]


def _camel_case(name: str) -> str:
    head, *tail = re.split("[-_]", name)
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


def modes_of(names: Iterable[str]) -> tuple[Mode | str, ...]:
    """Return the modes of names on the bus; modes of a newer agent stay names."""
    known = {mode.item: mode for mode in Mode}
    return tuple(known.get(name, name) for name in names)


def milliseconds(span: Span, what: str = "at_most") -> int:
    """Return a span in whole ms; raises Invalid outside of 1 ms to 49 days."""
    if isinstance(span, timedelta):
        number = span // _MILLISECOND
    else:
        number = round(span * 1000) if math.isfinite(span) else 0
    if not 1 <= number <= _MAX_U32:
        raise Invalid(f"{what} is from 0.001 seconds to 49 days, not {span!r}")
    return number


def moment(microseconds: int) -> datetime:
    """Return the moment so many µs since the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(when: datetime) -> int:
    """Return the µs since the epoch; the inverse of `moment`."""
    return (when - _EPOCH) // timedelta(microseconds=1)
