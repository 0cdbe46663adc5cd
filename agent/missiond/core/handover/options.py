# SPDX-License-Identifier: Apache-2.0
"""What a caller asks for, and what this host knows of a mission that is to go elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from missiond.core.handover import messages
from missiond.core.handover.record import Opaque, Phase, Record, Role
from missiond.core.link.checks import BadMessage
from missiond.errors import DistributedServiceFailed, InvalidParameter


@dataclass(frozen=True, slots=True)
class HandoverLimits:
    """Times in ms, sizes in bytes. The times are those of upstream's documents."""

    answer: int = 10_000
    """For the owner, to say whether it agrees and to give its state."""
    overall: int = 20_000
    """From the request until the state begins to travel."""
    overall_free_install: int = 40_000
    """The same where the target may have to install the program."""
    stall: int = 20_000
    """Without progress of the state, from either side's view."""
    retry_least: int = 1_000
    """Before the first repetition of a message that waits for its answer on a link that is up."""
    probe: int = 2_000
    """Between looks whether the other side still knows of what is not written down there yet."""
    retry_most: int = 60_000
    """Between repetitions, which are twice as far apart each time."""
    state: int = 1 << 30
    """The largest state that a target takes."""
    per_peer: int = 16
    """Transfers from one peer that a target holds before they are started."""
    unsettled: int = 64
    """The same with those that have an outcome of which the peer has not confirmed that it knows."""
    states_per_peer: int = 4
    """How many times `state` all states from one peer may be that a target keeps, until each is settled."""
    states: int = 8
    """The same from all peers."""

    def until_state(self, free_install: bool) -> int:
        """The time until the state begins to travel."""
        return self.overall_free_install if free_install else self.overall

    def retry(self, attempt: int) -> int:
        """The time before repetition number `attempt`, from 0."""
        return min(self.retry_least << min(attempt, 16), self.retry_most)


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
