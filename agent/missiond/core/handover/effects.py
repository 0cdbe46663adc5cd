# SPDX-License-Identifier: Apache-2.0
"""The effects of hand-overs: requests to the host.

Effects are executed in their order, and each may be asked for again after a restart: doing twice what was
done is doing nothing. Those marked "reports" are only begun; the coordinator is told of the outcome later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from missiond.core.handover.record import Opaque, Record


class Timer(StrEnum):
    """The timers of a transfer, at most one of each."""

    ANSWER = "answer"
    OVERALL = "overall"
    STALL = "stall"
    RETRY = "retry"


class ContinueState(IntEnum):
    """The state in ContinueStateChange."""

    ACTIVE = 0
    INACTIVE = 1


@dataclass(frozen=True, slots=True)
class Effect:
    """The base of all effects: a request of one transfer."""

    transfer: str


@dataclass(frozen=True, slots=True)
class Write(Effect):
    """A record to write over an earlier one, on disk before the next effect (fsync of file and directory).

    On failure no later effect of this event and transfer is executed, and `Coordinator.write_failed` is
    called.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class SaveFence(Effect):
    """The highest fence of an identity, to be written down for longer than the transfer.

    A failure is logged, and the other effects follow: a peer with a higher fence refuses, and says which.
    """

    identity: str
    fence: int


@dataclass(frozen=True, slots=True)
class Remove(Effect):
    """A record and a state to remove from the disk, if there. Fails as Write does."""


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """A message to send once, if there is a link: the coordinator repeats the important ones."""

    peer: str
    step: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SendState(Effect):
    """A state to send from an offset on, in place of a transmission under way; reports `state_sent`."""

    peer: str
    offset: int


@dataclass(frozen=True, slots=True)
class ReceiveState(Effect):
    """A state to make room for, dropping another of this transfer.

    Reports `state_received`; then `state_complete` once the state is on disk with the right size and
    checksum, also for 0 bytes; or `state_failed`.
    """

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Resolve(Effect):
    """A mission to look up for a peer, with the peer's right to have the mission; reports `resolved`."""

    peer: str
    mission: int
    app_id: str
    want: Opaque


@dataclass(frozen=True, slots=True)
class Check(Effect):
    """An offered mission to check: could this host start the program, installed where allowed.

    Reports `installing`, any number of times, then `checked`.
    """

    peer: str
    description: Opaque
    free_install: bool


@dataclass(frozen=True, slots=True)
class AskOwner(Effect):
    """A ContinueRequested to send; reports `owner_answered`, then `state_captured` or `state_failed`."""

    mission: int
    continuation: int
    peer: str
    want: Opaque


@dataclass(frozen=True, slots=True)
class CaptureContext(Effect):
    """An empty state to keep, without the owner; reports `state_captured` or `state_failed`."""

    mission: int


@dataclass(frozen=True, slots=True)
class StopMission(Effect):
    """A mission to stop; must report `mission_stopped` after the last process, or `stop_failed`."""

    mission: int


@dataclass(frozen=True, slots=True)
class StartUnit(Effect):
    """A mission to start with state and want_param; reports `unit_started`.

    A unit started for this transfer before, running or over, is not started again: report 0.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class RestartHere(Effect):
    """A mission to start again on this host from the kept state; reports `restarted`.

    The daemon may have died before or during the stop: first see that nothing of the old program runs. If it
    was surely never told to stop, leave it and report 0. A unit started again for this transfer before is not
    started once more, as with StartUnit.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class TellDone(Effect):
    """A ContinueDone to send.

    Repeated, with the same code, only after the daemon died between this effect and the Write or Remove right
    after. Callers ignore a second one with the same number.
    """

    continuation: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class TellState(Effect):
    """A ContinueStateChange to send to listeners."""

    state: ContinueState
    record: Record


@dataclass(frozen=True, slots=True)
class StateProgress(Effect):
    """Bytes of the state sent or received so far."""

    done: int
    size: int


@dataclass(frozen=True, slots=True)
class Installing(Effect):
    """Per cent of the program's installation at the target, only ever rising."""

    percent: int


@dataclass(frozen=True, slots=True)
class SetTimer(Effect):
    """A timer to set in ms, in place of an earlier one, for `timer_expired`; None stops the timer."""

    timer: Timer
    after: int | None


@dataclass(frozen=True, slots=True)
class Doubled(Effect):
    """A warning for people: the mission was reclaimed after a start on the other host, and runs on both."""

    record: Record


@dataclass(frozen=True, slots=True)
class ForgetTransfer(Effect):
    """The end of a transfer: timers, files and questions are to be dropped."""
