# SPDX-License-Identifier: Apache-2.0
"""The common part of both sides of a hand-over: record, timers, messages to the caller, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from missiond.core.handover.effects import (
    ContinueState,
    Effect,
    ForgetTransfer,
    Installing,
    Remove,
    SaveFence,
    Send,
    SetTimer,
    StateProgress,
    TellDone,
    TellState,
    Timer,
    Write,
)
from missiond.core.handover.messages import MAX_REASON, Step
from missiond.core.handover.options import HandoverLimits
from missiond.core.handover.record import Phase, Record
from missiond.core.link.checks import BadMessage
from missiond.errors import AgentError, Code

MOST = 2**53
"""Highest fence of a peer to be believed; no honest host gets there."""


class Fences:
    """Identity to fence; only ever rises."""

    def __init__(self, saved: Mapping[str, int] | None = None) -> None:
        self._known = dict(saved or {})

    def __getitem__(self, identity: str) -> int:
        """Return the fence of an identity; 0 for a new one."""
        return self._known.get(identity, 0)

    def learn(self, identity: str, fence: int) -> None:
        """Note a used fence."""
        if identity and self[identity] < fence <= MOST:
            self._known[identity] = fence


FAILED = int(Code.DISTRIBUTED_SERVICE_FAILED)
_NEEDS_INSTALL = int(Code.REMOTE_NEEDS_FREE_INSTALL)
Body = Mapping[str, Any]


class Transfer:
    """One hand-over; every method returns effects, to be executed in this order."""

    def __init__(self, record: Record, limits: HandoverLimits, fences: Fences, *, linked: bool) -> None:
        self.record = record
        self.over = False
        """Whether there is nothing left to know of it."""
        self._limits = limits
        self._fences = fences
        self._linked = linked
        self._attempt = 0
        self._active = False
        self._saved = True
        """Whether the phase is on the disk; the peer hears of it only then, and may forget it for that."""
        self._last: tuple[Step, Body] | None = None
        self._percent: int | None = None
        """Of the installation, where there is one."""

    @property
    def phase(self) -> Phase:
        """The progress of the transfer."""
        return self.record.phase

    # What happens; roles add to it.

    def loaded(self) -> list[Effect]:
        """Continue after a restart of the daemon; links are reported later."""
        raise NotImplementedError

    def received(self, step: Step, body: Body) -> list[Effect]:
        """React to a message of the peer; raises BadMessage for one from no well-made peer in this phase."""
        raise NotImplementedError

    def timer_expired(self, timer: Timer) -> list[Effect]:
        """React to the end of a timer; a late one does no harm."""
        raise NotImplementedError

    def write_failed(self, effect: Write, reason: str) -> list[Effect]:
        """Continue without an unwritten record."""
        raise NotImplementedError

    def reclaim(self) -> list[Effect]:
        """Take the mission here by hand; raises InvalidParameter where impossible."""
        raise NotImplementedError

    def drop(self) -> list[Effect]:
        """Give the mission up here by hand; raises InvalidParameter where impossible."""
        raise NotImplementedError

    def repeat(self) -> list[Effect]:
        """Repeat messages the peer may have missed."""
        raise NotImplementedError

    def link(self, up: bool) -> list[Effect]:
        """Note the rise or fall of the link to the peer."""
        self._linked = up
        self._attempt = 0
        if up:
            return self.repeat()
        return [] if self._waits_for_disk else [self._timer(Timer.RETRY, None)]

    def removal_failed(self) -> list[Effect]:
        """Try again later to remove the record: until then nobody may hear of the removal."""
        self.over = False
        return self._retry()

    # Helpers.

    def _save_later(self) -> list[Effect]:
        self._saved = False
        return self._retry()

    def _note(self, **changes: Any) -> None:  # noqa: ANN401 (fields of the record)
        self.record = replace(self.record, **changes)

    def _write(self, **changes: Any) -> Write:  # noqa: ANN401 (fields of the record)
        self._note(**changes)
        return Write(self.record.transfer, self.record)

    def _send(self, step: Step, **body: Any) -> Send:  # noqa: ANN401 (JSON)
        return Send(self.record.transfer, self.record.peer, step.value, body)

    def _timer(self, timer: Timer, after: int | None) -> SetTimer:
        return SetTimer(self.record.transfer, timer, after)

    def _retry(self) -> list[Effect]:
        """Repeat later, ever more seldom; without a link, the link's return is the next occasion.

        A disk does not tell when it has room again, so a transfer that waits for one is tried again in any
        case.
        """
        if not self._linked and not self._waits_for_disk:
            return []
        after = self._limits.retry(self._attempt)
        self._attempt += 1
        return [self._timer(Timer.RETRY, after)]

    def _probe_later(self) -> list[Effect]:
        """Come back to what the other side may have forgotten with its daemon, which says nothing then."""
        return [self._timer(Timer.RETRY, self._limits.probe)] if self._linked else []

    @property
    def _waits_for_disk(self) -> bool:
        """Whether it waits for the disk rather than for the peer."""
        return self.phase is Phase.ENDED or not self._saved

    def _begin_telling(self) -> list[Effect]:
        self._active = True
        return [TellState(self.record.transfer, ContinueState.ACTIVE, self.record)]

    def _progress(self, done: int) -> list[Effect]:
        return [
            self._timer(Timer.STALL, self._limits.stall),
            StateProgress(self.record.transfer, done, self.record.size),
        ]

    def _installed(self, percent: int) -> list[Effect]:
        """Tell how far the installation is, unless more was told before."""
        if self._percent is not None and percent <= self._percent:
            return []
        self._percent = percent
        return [Installing(self.record.transfer, percent)]

    def _too_long(self) -> tuple[int, str]:
        """Code and reason where time is up before the state travels."""
        if self._percent is not None and self.phase in {Phase.OFFERED, Phase.CHECKING}:
            return _NEEDS_INSTALL, (
                "installing its program there took too long, see InstallTimeout= in missiond.conf(5); "
                "have it installed there first"
            )
        return FAILED, "it took too long"

    def _tell(self) -> list[Effect]:
        """Say ContinueDone if somebody here waits for it; the record must have the result by now."""
        if self.record.told or not self.record.asked_here:
            return []
        self._note(told=True)
        return [
            TellDone(self.record.transfer, self.record.continuation, self.record.result, self.record.reason)
        ]

    def _result(self, code: int, reason: str) -> dict[str, Any]:
        """Fields of the record for a result, unless it has been said already."""
        return {} if self.record.told else {"result": code, "reason": reason[:MAX_REASON]}

    def _end(self, code: int, reason: str, last: tuple[Step, Body] | None = None) -> list[Effect]:
        """Tell callers the outcome, and remove the transfer.

        Where a caller waits, the result is written down first, so that a repetition says the same.
        :param last: message for the peer after the removal.
        """
        self._last = last
        effects: list[Effect] = []
        if self.record.asked_here and not self.record.told:
            effects.append(self._write(phase=Phase.ENDED, **self._result(code, reason)))
        else:
            self._note(phase=Phase.ENDED, **self._result(code, reason))
        return effects + self._ended()

    def _ended(self) -> list[Effect]:
        """Between telling and removing is nothing else: dying there is what makes it be told twice."""
        record = self.record
        self._fences.learn(record.identity, record.fence)
        fence = self._fences[record.identity]
        saving = [SaveFence(record.transfer, record.identity, fence)] if record.identity else []
        return [*saving, *self._tell(), *self._remove()]

    def _remove(self) -> list[Effect]:
        self.over = True
        record = self.record
        effects: list[Effect] = [Remove(record.transfer)]
        if self._last is not None:
            step, body = self._last
            effects.append(self._send(step, **body))
        if self._active:
            effects.append(TellState(record.transfer, ContinueState.INACTIVE, record))
        return [*effects, ForgetTransfer(record.transfer)]

    def _verdict(self, code: int, reason: str) -> dict[str, Any]:
        """Members of ABORT and REFUSED."""
        return {"code": code, "reason": reason[:MAX_REASON], "fence": self.record.fence}

    def _bad(self, step: Step) -> BadMessage:
        return BadMessage(f"{step.value!r} while {self.phase.value}")


FAILED = int(Code.DISTRIBUTED_SERVICE_FAILED)
_LEAST, _MOST = int(Code.DISTRIBUTED_SERVICE_FAILED), int(Code.NO_MISSION_FOR_APPLICATION)


def outcome(error: BaseException) -> tuple[int, str]:
    """Return code and reason of an error for ContinueDone, 16300501 for all other errors."""
    if not isinstance(error, AgentError):
        return FAILED, f"the agent failed ({type(error).__name__}); see its journal"
    code = int(error.code)
    return (code if _LEAST <= code <= _MOST else FAILED), error.text
