# SPDX-License-Identifier: Apache-2.0
"""The record of one hand-over: roles, phases, and the view for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from missiond.core.schema import I63, U32, BadValue, Form, Later, Length, Range, Through, Words

MAX_WANT = 100_000
"""Bytes of want_param as JSON (upstream's guide: less than 100 KB)."""
MAX_DESCRIPTION = 512 * 1024
"""Bytes of a launch description as JSON."""
MAX_ALONG = 256 * 1024
"""Bytes as JSON of `Record.along`."""
MAX_REASON = 1024


class Role(StrEnum):
    """The part of this host in a hand-over."""

    SOURCE = "source"
    TARGET = "target"


class Phase(StrEnum):
    """The progress of a transfer; phases in DURABLE are written down on entry."""

    # Source
    RESOLVING = "resolving"
    """The target asked for a mission; this host is looking for one."""
    OFFERED = "offered"
    """The target checks the offer; the mission runs here."""
    ASKED = "asked"
    """The owner is asked, or the context captured; the mission runs here."""
    SENDING = "sending"
    """The state travels; the mission runs here."""
    STOPPING = "stopping"
    """The target is prepared; the mission is being stopped."""
    COMMITTED = "committed"
    """Source: the mission is the target's, known there or not. Target: the mission may be started, and is."""
    RESTARTING = "restarting"
    """The mission is this host's again and being started."""
    STRANDED = "stranded"
    """The mission is this host's again and could not be started; the state is kept."""

    # Target
    PULLING = "pulling"
    """Asked for by a caller here; the source has not made an offer yet."""
    CHECKING = "checking"
    """Offered; this host checks whether the mission can run here."""
    RECEIVING = "receiving"
    """The state arrives."""
    PREPARED = "prepared"
    """All is on this disk; the source decides."""
    STARTED = "started"
    """The mission runs here; the source has not confirmed the outcome."""
    FAILED = "failed"
    """The start here has failed for good; the source has not confirmed the outcome."""

    ENDED = "ended"
    """Over but for telling the caller."""


DURABLE = frozenset(
    {
        Phase.OFFERED,
        Phase.STOPPING,
        Phase.COMMITTED,
        Phase.RESTARTING,
        Phase.STRANDED,
        Phase.PULLING,
        Phase.PREPARED,
        Phase.STARTED,
        Phase.FAILED,
        Phase.ENDED,
    }
)
RUNS_AT_SOURCE = frozenset({Phase.RESOLVING, Phase.OFFERED, Phase.ASKED, Phase.SENDING})
"""Phases for the source to forget the transfer at will: the mission was not touched."""
UNPREPARED = frozenset({Phase.PULLING, Phase.CHECKING, Phase.RECEIVING})
"""Phases for the target to forget the transfer at will."""


Opaque = Mapping[str, Any]
"""Any JSON object, not looked into here."""


TASKS = ("with", "without", "require")
"""Tasks go along as far as the target allows, stay, or go along all or keep the mission back."""


_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _opaque(most: int) -> Callable[[object], dict[str, Any]]:
    def check(value: object) -> dict[str, Any]:
        if type(value) is not dict:
            raise BadValue("not an object")
        try:
            size = len(_compact(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadValue("not what JSON can express") from error
        if size > most:
            raise BadValue(f"an object of more than {most} bytes")
        return value

    return check


WantParam = Annotated[Opaque, Through(_opaque(MAX_WANT))]
Description = Annotated[Opaque, Through(_opaque(MAX_DESCRIPTION))]
Along = Annotated[Opaque, Through(_opaque(MAX_ALONG))]
Tasks = Annotated[str, Words(TASKS)]
Id = Annotated[str, Form("[0-9a-f]{32}", "32 hexadecimal digits")]
Sha256 = Annotated[str, Form("[0-9a-f]{64}", "64 hexadecimal digits")]
Fence = Annotated[int, Range(0, I63)]
Number = Annotated[int, Range(0, U32)]
Reason = Annotated[str, Length(MAX_REASON)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One hand-over from the view of one host."""

    transfer: Id
    """128 random bits in lower-case hexadecimal, the same on both hosts."""
    role: Role
    phase: Annotated[Phase, Words(tuple(sorted(DURABLE)))]
    peer: Annotated[str, Length(64)]
    """The other host's device id."""
    mission: Number = 0
    """The source's number for the mission, valid until a restart of the host; 0 if unknown."""
    app_id: Annotated[str, Length(255)] = ""
    """Asked for in place of a number."""
    identity: Annotated[str, Form("([0-9a-f]{32})?", "32 hexadecimal digits, or nothing")] = ""
    """Name of the mission on all hosts: 128 random bits in lower-case hexadecimal; empty if unknown."""
    fence: Fence = 0
    """Counter, raised by each hand-over of this identity, and by the source on taking the mission back."""
    description: Description = field(default_factory=dict)
    """Launch description."""
    want: WantParam = field(default_factory=dict)
    """Parameters from the caller for the new process."""
    along: Later[Along] = field(default_factory=dict)
    """Further facts, unknown to earlier versions: `tasks`, `umask` as a number, and `home`, a directory below
    the user's home, where the mission's directory is there.
    """
    tasks: Later[Tasks] = "with"
    """Whether continuous tasks go along; one of TASKS."""
    note: Later[Reason] = ""
    """Parts of `along` left behind, for people."""
    continuation: Number = 0
    """Number of this host in ContinueRequested and ContinueDone; 0 for none."""
    asked_here: bool = False
    """Whether a caller on this host waits for ContinueDone."""
    keep_source: bool = False
    """Whether the mission goes on at the source as well."""
    free_install: bool = False
    """Whether the target may install the program."""
    has_owner: bool = True
    """Whether the program answers ContinueRequested."""
    relaunch: bool = False
    """Whether the user allowed a start without state, from the context alone."""
    size: Annotated[int, Range(0, I63)] = 0
    """Bytes of the state, once known."""
    sha256: Annotated[str, Form("([0-9a-f]{64})?", "64 hexadecimal digits, or nothing")] = ""
    """Of the state in lower-case hexadecimal; empty while there is none."""
    result: Annotated[int, Range(0, I63)] = 0
    """Code of ContinueDone; 0 is success."""
    reason: Reason = ""
    """The result, for people."""
    told: bool = False
    """Whether ContinueDone was said."""


_IN_DOUBT = frozenset(
    {(Role.SOURCE, Phase.COMMITTED), (Role.SOURCE, Phase.STRANDED), (Role.TARGET, Phase.PREPARED)}
)


@dataclass(frozen=True, slots=True)
class InFlight:
    """One unfinished hand-over on this host."""

    record: Record
    linked: bool
    """Whether there is a link to the peer."""
    readable: bool = True
    """False where the file cannot be read: only the id is known then, and people have to look."""

    @property
    def in_doubt(self) -> bool:
        """Whether the transfer waits for the other host or for people, with the mission perhaps nowhere."""
        return not self.readable or (self.record.role, self.record.phase) in _IN_DOUBT

    @property
    def can_reclaim(self) -> bool:
        """Whether a person may take the mission back on this host."""
        return self.in_doubt and self.readable and self.record.role is Role.SOURCE
