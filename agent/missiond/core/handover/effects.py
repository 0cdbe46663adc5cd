# SPDX-License-Identifier: Apache-2.0
"""What a hand-over asks of the host.

Effects are executed in their order, and each may be asked for again after a restart: doing twice what was
done is doing nothing. Those marked "reports" are begun only; what comes of them is told to the book later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from missiond.core.handover.record import Opaque, Record


class Timer(StrEnum):
    """A transfer has at most one of each."""

    ANSWER = "answer"
    OVERALL = "overall"
    STALL = "stall"
    RETRY = "retry"


class ContinueState(IntEnum):
    """State of ContinueStateChange."""

    ACTIVE = 0
    INACTIVE = 1


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done for a transfer."""

    transfer: str


@dataclass(frozen=True, slots=True)
class Write(Effect):
    """Write the record, replacing an earlier one; done when it is on the disk (fsync of file and directory).

    Not written: nothing else of this transfer that came with it is done, and `Coordinator.write_failed` told.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class SaveFence(Effect):
    """Write down the highest fence of an identity; it outlives the transfer.

    Not written, it is logged and all else goes on: a peer that knows better refuses with the fence it knows.
    """

    identity: str
    fence: int


@dataclass(frozen=True, slots=True)
class Remove(Effect):
    """Remove record and state from the disk; what is not there is removed. It fails as Write does."""


@dataclass(frozen=True, slots=True)
class Send(Effect):
    """Send a message; without a link, or where it is lost, nothing is done: the book repeats what matters."""

    peer: str
    step: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SendState(Effect):
    """Send the state from this offset on, in place of what may be under way; reports `state_sent`."""

    peer: str
    offset: int


@dataclass(frozen=True, slots=True)
class ReceiveState(Effect):
    """Make room for a state, dropping another of this transfer.

    Reports `state_received`; then `state_complete` once size and checksum are right and it is on the disk,
    also for 0 bytes; or `state_failed`.
    """

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Resolve(Effect):
    """Find the mission that a peer asked for, and whether the peer may have it; reports `resolved`."""

    peer: str
    mission: int
    app_id: str
    want: Opaque


@dataclass(frozen=True, slots=True)
class Check(Effect):
    """See whether the mission could be started here, installing it where allowed.

    Reports `installing`, any number of times, then `checked`.
    """

    peer: str
    description: Opaque
    free_install: bool


@dataclass(frozen=True, slots=True)
class AskOwner(Effect):
    """Say ContinueRequested; reports `owner_answered`, then `state_captured` or `state_failed`."""

    mission: int
    continuation: int
    peer: str
    want: Opaque


@dataclass(frozen=True, slots=True)
class CaptureContext(Effect):
    """Take what there is without the owner as its state; reports `state_captured` or `state_failed`."""

    mission: int


@dataclass(frozen=True, slots=True)
class StopMission(Effect):
    """Stop it; reports `mission_stopped` once nothing of it runs, or `stop_failed`. It must report."""

    mission: int


@dataclass(frozen=True, slots=True)
class StartUnit(Effect):
    """Start the mission with state and want_param; reports `unit_started`.

    What was started for this transfer is not started again, be it running or over: report 0.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class RestartHere(Effect):
    """Start the mission again on this host with its state; reports `restarted`.

    A stop may be under way, or never have begun if the daemon died in between: first see that nothing of the
    old one runs, or, where it is certain that it was never told to stop, leave it and report 0. Beyond that
    as StartUnit: what was started again for this transfer is not started once more.
    """

    record: Record


@dataclass(frozen=True, slots=True)
class TellDone(Effect):
    """Say ContinueDone.

    Asked for again, with the same code, only where the daemon died between this and the Write or Remove right
    after it. Callers ignore a second one with the same number.
    """

    continuation: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class TellState(Effect):
    """Say ContinueStateChange to listeners."""

    state: ContinueState
    record: Record


@dataclass(frozen=True, slots=True)
class StateProgress(Effect):
    """Bytes of the state that have been sent or received."""

    done: int
    size: int


@dataclass(frozen=True, slots=True)
class Installing(Effect):
    """So much of the program's installation at the target is done; it only ever rises."""

    percent: int


@dataclass(frozen=True, slots=True)
class SetTimer(Effect):
    """Call `timer_expired` after so many ms, in place of an earlier one; None means no longer."""

    timer: Timer
    after: int | None


@dataclass(frozen=True, slots=True)
class Doubled(Effect):
    """Warn people: the mission was reclaimed although the other host had started it, and runs on both."""

    record: Record


@dataclass(frozen=True, slots=True)
class ForgetTransfer(Effect):
    """Nothing more will come of this transfer: drop timers, files and questions that belong to it."""
