# SPDX-License-Identifier: Apache-2.0
"""What is known of one hand-over, and what of that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """What this host is in a hand-over."""

    SOURCE = "source"
    TARGET = "target"


class Phase(StrEnum):
    """Where a transfer stands; those in DURABLE are written down on entering them."""

    # Source
    RESOLVING = "resolving"
    """The target asked for a mission; this host looks for it."""
    OFFERED = "offered"
    """The target checks whether it can have it; the mission runs here."""
    ASKED = "asked"
    """The owner is asked, or its context captured; the mission runs here."""
    SENDING = "sending"
    """The state travels; the mission runs here."""
    STOPPING = "stopping"
    """The target is prepared; the mission is being stopped."""
    COMMITTED = "committed"
    """Source: the target has it, whether it knows that already or not. Target: it may start it, and does."""
    RESTARTING = "restarting"
    """It is this host's again and being started."""
    STRANDED = "stranded"
    """It is this host's again and could not be started; its state is kept."""

    # Target
    PULLING = "pulling"
    """Asked for by a caller here; the source has not offered it yet."""
    CHECKING = "checking"
    """Offered; this host looks whether it can have it."""
    RECEIVING = "receiving"
    """The state arrives."""
    PREPARED = "prepared"
    """All is on this disk; the source decides."""
    STARTED = "started"
    """It runs here; the source has not confirmed that it knows."""
    FAILED = "failed"
    """It could not be started here and never will be; the source has not confirmed that it knows."""

    ENDED = "ended"
    """Over; what is left is to tell the caller."""


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
"""Phases in which the source may simply forget it all: the mission was not touched."""
UNPREPARED = frozenset({Phase.PULLING, Phase.CHECKING, Phase.RECEIVING})
"""Phases in which the target may."""


Opaque = Mapping[str, Any]
"""Anything that JSON can express under string keys; nothing in here looks into it."""


TASKS = ("with", "without", "require")
"""Continuous tasks go along, as far as the target lets them; stay; or all go along, or the mission stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One hand-over as one host sees it."""

    transfer: str
    """128 random bits in lower-case hexadecimal, the same on both hosts."""
    role: Role
    phase: Phase
    peer: str
    """The other host's device id."""
    mission: int = 0
    """The source's number for it, which means something only until that host restarts; 0 if unknown."""
    app_id: str = ""
    """Asked for in place of a number."""
    identity: str = ""
    """Names the mission wherever it runs: 128 random bits in lower-case hexadecimal; empty if unknown."""
    fence: int = 0
    """Rises with each hand-over of this identity, and when the source takes it back."""
    description: Opaque = field(default_factory=dict)
    """How to start it."""
    want: Opaque = field(default_factory=dict)
    """What the caller wants the new process to know."""
    along: Opaque = field(default_factory=dict)
    """What else goes along, of which earlier versions know nothing: `tasks`, `umask` as a number, and `home`,
    the directory below the user's home where it is there."""
    tasks: str = "with"
    """Whether its continuous tasks go along; one of TASKS."""
    note: str = ""
    """What of `along` was left behind, for people."""
    continuation: int = 0
    """This host's number for it, in ContinueRequested and ContinueDone; 0 if it has none."""
    asked_here: bool = False
    """Whether a caller on this host waits for ContinueDone."""
    keep_source: bool = False
    """Whether the mission goes on at the source as well."""
    free_install: bool = False
    """Whether the target may install the program."""
    has_owner: bool = True
    """Whether the program answers ContinueRequested."""
    relaunch: bool = False
    """Whether its user allowed that it is started anew with its context, without state of its own."""
    size: int = 0
    """Bytes of the state, once it is known."""
    sha256: str = ""
    """Of the state in lower-case hexadecimal; empty while there is none."""
    result: int = 0
    """What ContinueDone says; 0 is success."""
    reason: str = ""
    """The result, for people."""
    told: bool = False
    """Whether ContinueDone was said."""


_IN_DOUBT = frozenset(
    {(Role.SOURCE, Phase.COMMITTED), (Role.SOURCE, Phase.STRANDED), (Role.TARGET, Phase.PREPARED)}
)


@dataclass(frozen=True, slots=True)
class InFlight:
    """One hand-over that is not over on this host."""

    record: Record
    linked: bool
    """Whether there is a link to the peer."""
    readable: bool = True
    """False where its file cannot be read: then there is nothing but its id, and people have to look."""

    @property
    def in_doubt(self) -> bool:
        """Whether it waits for the other host, or for people, with the mission perhaps running nowhere."""
        return not self.readable or (self.record.role, self.record.phase) in _IN_DOUBT

    @property
    def can_reclaim(self) -> bool:
        """Whether a person may take it back on this host."""
        return self.in_doubt and self.readable and self.record.role is Role.SOURCE
