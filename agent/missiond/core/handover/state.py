# SPDX-License-Identifier: Apache-2.0
"""How far a hand-over is."""

from __future__ import annotations

from enum import StrEnum


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
