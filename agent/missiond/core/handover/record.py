# SPDX-License-Identifier: Apache-2.0
"""What is known of one hand-over, and what of that is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from missiond.core.handover.state import Phase, Role

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
