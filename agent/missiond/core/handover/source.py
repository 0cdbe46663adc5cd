# SPDX-License-Identifier: Apache-2.0
"""A hand-over at the host of the mission."""

from __future__ import annotations

from missiond.core.handover.effects import (
    AskOwner,
    CaptureContext,
    Doubled,
    Effect,
    Resolve,
    RestartHere,
    Send,
    SendState,
    StopMission,
    Timer,
    Write,
)
from missiond.core.handover.messages import MAX_REASON, Step
from missiond.core.handover.record import RUNS_AT_SOURCE, Phase
from missiond.core.handover.transfer import FAILED, Body, Transfer
from missiond.errors import InvalidParameter

RECLAIMED = "it was reclaimed"
_TASKS_STAY = "its continuous tasks stay behind: the other host's missiond is too old for them"
_UMASK_STAYS = (
    "its umask stays behind, and others may be able to read what it writes there: the other host's missiond "
    "is too old for it"
)
_READING = 0o055
"""Bits of an umask that keep others from reading."""


class SourceSide(Transfer):
    """The source of a hand-over: keeps the mission until the target is prepared, and commits once."""

    fresh = True
    """Whether the transfer began in the life of this daemon."""
    _pulled = False
    _reclaimed = False
    """Whether a person wants it back; it is not started before that is on the disk."""
    _asking = False
    """Whether the owner may answer."""

    def resolve(self) -> list[Effect]:
        """Look up the mission for the target; `begin` or `refuse` follow."""
        record = self.record
        return [
            self._timer(Timer.OVERALL, self._limits.until_state(record.free_install)),
            Resolve(record.transfer, record.peer, record.mission, record.app_id, record.want),
        ]

    def refuse(self, code: int, reason: str) -> list[Effect]:
        """Refuse the target's request."""
        return self._end(code, reason, (Step.REFUSED, self._verdict(code, reason)))

    def begin(self, *, pulled: bool) -> list[Effect]:
        """Offer the mission; the record is complete but for the state."""
        self._pulled = pulled
        free_install = self.record.free_install
        return [
            self._write(phase=Phase.OFFERED),
            *self._begin_telling(),
            self._timer(Timer.OVERALL, self._limits.until_state(free_install)),
            *self.repeat(),
        ]

    def loaded(self) -> list[Effect]:
        """Take back a transfer before COMMITTED; ask about others once there is a link."""
        self._active, self.fresh = True, False
        match self.phase:
            case Phase.OFFERED:
                return self._abort(FAILED, "the agent was restarted")
            case Phase.STOPPING:
                return self._take_back(FAILED, "the agent was restarted")
            case Phase.RESTARTING | Phase.STRANDED:
                self._note(phase=Phase.RESTARTING)
                return [RestartHere(self.record.transfer, self.record)]
            case Phase.ENDED:
                return self._ended()
            case _:
                return []

    def repeat(self) -> list[Effect]:
        """Repeat messages the target may have missed."""
        match self.phase:
            case Phase.OFFERED:
                return [self._offer(), *self._probe_later()]
            case Phase.SENDING:
                return [self._state(resume=True), *self._probe_later()]
            case Phase.COMMITTED:
                return [self._send(Step.COMMIT, fence=self.record.fence), *self._retry()]
            case Phase.RESTARTING | Phase.STRANDED if self._saved:
                return [self._abort_message()]
            case _:
                return []

    # The owner and the mission.

    def owner_answered(self, agree: bool) -> list[Effect]:
        """Take the owner's answer: a state follows, or the transfer is aborted."""
        if self.phase is not Phase.ASKED or not self._asking:
            raise InvalidParameter("nobody asks for this state (any more)")
        self._asking = False
        if not agree:
            return self._abort(FAILED, "the application refused")
        return [self._timer(Timer.ANSWER, None)]

    def state_captured(self, size: int, sha256: str) -> list[Effect]:
        """Send the state, now on this disk."""
        if self.phase is not Phase.ASKED:
            return []
        self._note(phase=Phase.SENDING, size=size, sha256=sha256)
        return [
            self._timer(Timer.ANSWER, None),
            self._timer(Timer.OVERALL, None),
            self._state(resume=False),
            SendState(self.record.transfer, self.record.peer, 0),
            *self._progress(0),
            *self._probe_later(),
        ]

    def state_failed(self, reason: str) -> list[Effect]:
        """Abort without a state: the disk is full, or the owner's file cannot be read."""
        return self._abort(FAILED, reason) if self.phase in RUNS_AT_SOURCE else []

    def state_sent(self, offset: int) -> list[Effect]:
        """Note how many bytes the link has taken."""
        return self._progress(offset) if self.phase is Phase.SENDING else []

    def mission_stopped(self) -> list[Effect]:
        """Commit, or abort where nobody asked for the mission's end."""
        if self.phase is Phase.STOPPING:
            return self._commit()
        if self.phase in RUNS_AT_SOURCE:
            return self._abort(FAILED, "the mission ended by itself")
        return []

    def stop_failed(self, reason: str) -> list[Effect]:
        """Take the mission back after a failed stop."""
        return self._take_back(FAILED, reason) if self.phase is Phase.STOPPING else []

    # The target.

    def received(self, step: Step, body: Body) -> list[Effect]:
        """React to a message of the target."""
        effects: list[Effect] = []
        match step:
            case Step.PULL:
                effects = self.repeat()
            case Step.INSTALLING if self.phase is Phase.OFFERED:
                effects = self._installed(body["percent"])
            case Step.ACCEPTED if self.phase is Phase.OFFERED:
                effects = self._accepted(knows=body["along"])
            case Step.RECEIVED if self.phase is Phase.SENDING:
                effects = self._resume(body["offset"])
            case Step.PREPARED:
                effects = self._prepared(body["sha256"])
            case Step.STARTED:
                effects = self._started(body["note"])
            case Step.REFUSED:
                self._fences.learn(self.record.identity, body["fence"])
                effects = self._refused(body["code"], body["reason"])
            case Step.UNKNOWN:
                effects = self._unknown()
            case Step.INSTALLING | Step.ACCEPTED | Step.RECEIVED:
                pass
            case _:
                raise self._bad(step)
        return effects

    def _accepted(self, *, knows: bool) -> list[Effect]:
        along = {} if knows else self.record.along
        stays = [_TASKS_STAY] if along.get("tasks") else []
        if stays and self.record.tasks == "require":
            return self._abort(FAILED, f"{_TASKS_STAY}, and it was to take them along")
        if along.get("umask", 0) & _READING:
            stays.append(_UMASK_STAYS)
        self._note(phase=Phase.ASKED, note="; ".join(stays))
        record = self.record
        self._asking = record.has_owner
        if not record.has_owner:
            return [CaptureContext(record.transfer, record.mission)]
        return [
            self._timer(Timer.ANSWER, self._limits.answer),
            AskOwner(record.transfer, record.mission, record.continuation, record.peer, record.want),
        ]

    def _resume(self, offset: int) -> list[Effect]:
        if offset > self.record.size:
            raise self._bad(Step.RECEIVED)
        return [SendState(self.record.transfer, self.record.peer, offset), *self._progress(offset)]

    def _prepared(self, sha256: str) -> list[Effect]:
        if self.phase is not Phase.SENDING:
            return self.repeat() if self.phase is not Phase.OFFERED else []
        if sha256 != self.record.sha256:
            raise self._bad(Step.PREPARED)
        stall = self._timer(Timer.STALL, None)
        if self.record.keep_source:
            return [stall, *self._commit()]
        stopping = self._write(phase=Phase.STOPPING)
        return [stall, stopping, StopMission(self.record.transfer, self.record.mission)]

    def _commit(self) -> list[Effect]:
        self._attempt = 0
        return [self._write(phase=Phase.COMMITTED), *self.repeat()]

    def _started(self, note: str) -> list[Effect]:
        match self.phase:
            case Phase.COMMITTED:
                return self._end(0, note or self.record.note, (Step.SETTLED, {}))
            case Phase.RESTARTING | Phase.STRANDED:
                return [Doubled(self.record.transfer, self.record), *self.repeat()]
            case Phase.ENDED:
                return []
            case _:
                raise self._bad(Step.STARTED)

    def _refused(self, code: int, reason: str) -> list[Effect]:
        if self.phase in RUNS_AT_SOURCE:
            return self._abort(code, reason)
        if self.phase is Phase.COMMITTED and self.record.keep_source:
            return self._end(code, reason, (Step.SETTLED, {}))
        if self.phase in {Phase.STOPPING, Phase.COMMITTED}:
            return self._take_back(code, reason)
        return []

    def _unknown(self) -> list[Effect]:
        if self.phase in RUNS_AT_SOURCE or (self.phase is Phase.COMMITTED and self.record.keep_source):
            return self._abort(FAILED, "the other host does not know of it (any more)")
        if self.phase is Phase.STOPPING:
            return self._take_back(FAILED, "the other host does not know of it (any more)")
        if self.phase is Phase.COMMITTED:
            # Its disk was lost or cleared: whether it has started it, only people can find out.
            self._note(reason="the other host does not know of it any more")
        return []

    # How it ends without the target.

    def timer_expired(self, timer: Timer) -> list[Effect]:
        """Give up a wait for owner, target or link, or repeat a message."""
        match timer:
            case Timer.RETRY:
                return self._due()
            case Timer.ANSWER if self.phase is Phase.ASKED and self._asking:
                self._asking = False
                if self.record.relaunch:
                    return [CaptureContext(self.record.transfer, self.record.mission)]
                return self._abort(FAILED, "the application did not answer in time")
            case Timer.OVERALL if self.phase in {Phase.RESOLVING, Phase.OFFERED, Phase.ASKED}:
                return self._abort(*self._too_long())
            case Timer.STALL if self.phase is Phase.SENDING:
                return self._abort(FAILED, "the other host took too long")
            case _:
                return []

    def _due(self) -> list[Effect]:
        """While the state travels, see only whether it is still expected."""
        if self.phase is Phase.SENDING:
            return [self._state(resume=False), *self._probe_later()]
        if self.phase is Phase.ENDED:
            return self._remove()
        return self.repeat() if self._saved else self._save()

    # To keep the mission, or to get it back, without the target.

    def restarted(self, code: int, reason: str) -> list[Effect]:
        """End the transfer after a restart here, or note the failure."""
        if self.phase is not Phase.RESTARTING:
            return []
        self._reclaimed = False
        if code == 0:
            message = self._abort_message()
            last = Step(message.step), message.body
            return self._end(self.record.result, self.record.reason, last)
        why = f"{self.record.reason}; and here it could not be started again: {reason}"
        self._note(phase=Phase.STRANDED, reason=why[:MAX_REASON])
        return self._save()

    def _save(self) -> list[Effect]:
        """Write it down as it is, and say so."""
        self._saved = True
        effects: list[Effect] = [self._write()]
        if self.phase is Phase.RESTARTING and self._reclaimed:
            effects.append(RestartHere(self.record.transfer, self.record))
        elif self.phase is Phase.STRANDED and (telling := self._tell()):
            effects += [*telling, self._write()]
        return effects + self.repeat()

    def reclaim(self) -> list[Effect]:
        """Take back a committed mission, or try again to start a stranded one."""
        if self.phase is Phase.STRANDED:
            self._note(phase=Phase.RESTARTING)
            return [RestartHere(self.record.transfer, self.record)]
        if self.phase is not Phase.COMMITTED:
            raise InvalidParameter(f"transfer {self.record.transfer} is not in doubt; wait for its end")
        if self.record.keep_source:
            return self._abort(FAILED, RECLAIMED)
        self._reclaimed = True
        return self._take_back(FAILED, RECLAIMED)

    def drop(self) -> list[Effect]:
        """Give up a stranded mission and the state by hand; raises InvalidParameter otherwise."""
        if self.phase is not Phase.STRANDED:
            raise InvalidParameter("only the host that was to get the mission can drop it; reclaim it here")
        message = self._abort_message()
        return self._end(self.record.result, self.record.reason, (Step(message.step), message.body))

    def write_failed(self, effect: Write, reason: str) -> list[Effect]:
        """Take back a step missing on the disk."""
        failed = effect.record
        why = f"the transfer could not be written down ({reason})"
        if not failed.told:
            self._note(told=False)  # what was to be said after it was not
        effects: list[Effect]
        match failed.phase:
            case Phase.OFFERED:
                self._note(phase=Phase.ENDED, **self._result(FAILED, why))
                effects = self._ended()
            case Phase.ENDED:
                effects = self._ended()
            case Phase.STOPPING:
                effects = self._abort(FAILED, why)
            case Phase.COMMITTED if failed.keep_source:
                effects = self._abort(FAILED, why)
            case Phase.COMMITTED:
                # On the disk it is STOPPING still, which means the same as what follows.
                effects = self._take_back(FAILED, why)
            case Phase.RESTARTING if self._reclaimed:
                # Started without a record, it would be committed again after a crash, and run twice.
                effects = self._save_later()
            case Phase.RESTARTING:
                # What is on the disk leads here again after a crash.
                effects = [RestartHere(failed.transfer, failed), *self._save_later()]
            case _ if failed.told:
                effects = self.repeat()
            case _:
                effects = self._save_later()
        return effects

    def _abort(self, code: int, reason: str) -> list[Effect]:
        """Forget it; the mission runs on."""
        message = self._abort_message(code, reason)
        return self._end(code, reason, (Step(message.step), message.body))

    def _take_back(self, code: int, reason: str) -> list[Effect]:
        """Start it here again, with a fence above the one that was offered."""
        result = self._result(code, reason)
        return [
            self._timer(Timer.RETRY, None),
            self._write(phase=Phase.RESTARTING, fence=self.record.fence + 1, **result),
            RestartHere(self.record.transfer, self.record),
            self._abort_message(),
        ]

    def _abort_message(self, code: int = 0, reason: str = "") -> Send:
        verdict = self._verdict(code or self.record.result or FAILED, reason or self.record.reason)
        return self._send(Step.ABORT, **verdict)

    # Messages.

    def _offer(self) -> Send:
        record = self.record
        return self._send(
            Step.OFFER,
            mission=record.mission,
            identity=record.identity,
            fence=record.fence,
            description=dict(record.description),
            want=dict(record.want),
            keep_source=record.keep_source,
            free_install=record.free_install,
            pulled=self._pulled,
            along=dict(record.along),
            tasks=record.tasks,
        )

    def _state(self, *, resume: bool) -> Send:
        return self._send(Step.STATE, size=self.record.size, sha256=self.record.sha256, resume=resume)
