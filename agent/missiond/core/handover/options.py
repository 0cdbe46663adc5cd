# SPDX-License-Identifier: Apache-2.0
"""The options and limits of a hand-over, and the moving mission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from missiond.core.handover.record import Description, Opaque, Phase, Record, Role, WantParam
from missiond.core.schema import BadValue, check_of
from missiond.errors import DistributedServiceFailed, InvalidParameter


@dataclass(frozen=True, slots=True)
class HandoverLimits:
    """Times in ms, as in upstream's documents, and sizes in bytes."""

    answer: int = 10_000
    """For the owner, to agree and to give a state."""
    overall: int = 20_000
    """From the request until the state begins to travel."""
    overall_free_install: int = 40_000
    """The same where the target may have to install the program."""
    stall: int = 20_000
    """Without progress of the state, from either side's view."""
    retry_least: int = 1_000
    """Before the first repetition of an unanswered message on a link."""
    probe: int = 2_000
    """Between questions whether the other side still knows a transfer not written down there yet."""
    retry_most: int = 60_000
    """Longest time between repetitions; from one to the next the time doubles."""
    state: int = 1 << 30
    """Largest state for a target to take."""
    per_peer: int = 16
    """Transfers from one peer for a target to hold before the start."""
    unsettled: int = 64
    """The same with transfers of an outcome not confirmed by the peer."""
    states_per_peer: int = 4
    """Size of all unsettled states from one peer at a target, in multiples of `state`."""
    states: int = 8
    """The same from all peers."""

    def until_state(self, free_install: bool) -> int:
        """Return the time (ms) until the state begins to travel."""
        return self.overall_free_install if free_install else self.overall

    def retry(self, attempt: int) -> int:
        """Return the time (ms) before repetition number `attempt`, from 0."""
        return min(self.retry_least << min(attempt, 16), self.retry_most)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinueOptions:
    """The wishes of the caller of ContinueMission; `continuation` is the answer, 1 … 2**32-1."""

    continuation: int
    want: Opaque = field(default_factory=dict)
    keep_source: bool = False
    free_install: bool = False
    tasks: str = "with"
    """One of TASKS, as in Record."""

    def check(self) -> None:
        """Raise InvalidParameter where want_param is too large or beyond JSON."""
        try:
            check_of(WantParam)(dict(self.want))
        except BadValue as error:
            raise InvalidParameter(f"want_param is {error}; give less, or large state as a file") from error

    def record(self, transfer: str, role: Role, phase: Phase, peer: str, **more: Any) -> Record:  # noqa: ANN401
        """Return the record of a transfer for a caller of this host."""
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
    """A mission of this host on the way to another."""

    description: Mapping[str, Any]
    """Launch description for the other host, in JSON."""
    identity: str = ""
    """Identity in the record of StartUnit or RestartHere, for a mission from one; empty otherwise."""
    along: Mapping[str, Any] = field(default_factory=dict)
    """Further facts for the target, some unknown to earlier versions."""
    tasks: tuple[Mapping[str, Any], ...] = ()
    """Continuous tasks of the mission."""
    app_id: str = ""
    has_owner: bool = True
    """Whether the program answers ContinueRequested."""
    relaunch: bool = False
    """Whether the user allowed a start without state, from the context alone."""

    def check(self) -> None:
        """Raise DistributedServiceFailed where the mission cannot go."""
        if not self.has_owner and not self.relaunch:
            raise DistributedServiceFailed(
                "the program does not give its state, and its user did not allow to start it anew elsewhere"
            )
        try:
            check_of(Description)(dict(self.description))
        except BadValue as error:
            raise DistributedServiceFailed(f"how to start the mission is {error}") from error
