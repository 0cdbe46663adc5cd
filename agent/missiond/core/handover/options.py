# SPDX-License-Identifier: Apache-2.0
"""What a caller asks for, and what this host knows of a mission that is to go elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from missiond.core.handover import messages
from missiond.core.handover.record import Opaque, Record
from missiond.core.handover.state import Phase, Role
from missiond.core.link.checks import BadMessage
from missiond.errors import DistributedServiceFailed, InvalidParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueOptions:
    """What the caller of ContinueMission wants; `continuation` is what it is told, 1 … 2**32-1."""

    continuation: int
    want: Opaque = field(default_factory=dict)
    keep_source: bool = False
    free_install: bool = False
    tasks: str = "with"
    """As Record has it."""

    def check(self) -> None:
        """Raise InvalidParameter where want_param is too large or not what JSON can express."""
        try:
            messages.want_param(dict(self.want))
        except BadMessage as error:
            raise InvalidParameter(f"want_param is {error}; give less, or large state as a file") from error

    def record(self, transfer: str, role: Role, phase: Phase, peer: str, **more: Any) -> Record:  # noqa: ANN401
        """Return the record of a transfer that a caller of this host waits for."""
        return Record(
            transfer=transfer,
            role=role,
            phase=phase,
            peer=peer,
            continuation=self.continuation,
            asked_here=True,
            want=dict(self.want),
            keep_source=self.keep_source,
            free_install=self.free_install,
            tasks=self.tasks,
            **more,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingMission:
    """A mission of this host that is to go on elsewhere."""

    description: Mapping[str, Any]
    """How to start it there; anything that JSON can express."""
    identity: str = ""
    """As StartUnit or RestartHere had it in their record, if it came from one; empty otherwise."""
    along: Mapping[str, Any] = field(default_factory=dict)
    """What else goes along, as far as the target knows what it is."""
    tasks: tuple[Mapping[str, Any], ...] = ()
    """Its continuous tasks."""
    app_id: str = ""
    has_owner: bool = True
    """Whether the program answers ContinueRequested."""
    relaunch: bool = False
    """Whether its user allowed to start it anew with its context, without state of its own."""

    def check(self) -> None:
        """Raise DistributedServiceFailed where it cannot go."""
        if not self.has_owner and not self.relaunch:
            raise DistributedServiceFailed(
                "the program does not give its state, and its user did not allow to start it anew elsewhere"
            )
        try:
            messages.description(dict(self.description))
        except BadMessage as error:
            raise DistributedServiceFailed(f"how to start the mission is {error}") from error
