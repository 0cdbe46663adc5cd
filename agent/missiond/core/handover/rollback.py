# SPDX-License-Identifier: Apache-2.0
"""What the source does to keep a mission, or to get it back."""

from __future__ import annotations

from missiond.core.handover.effects import Effect, RestartHere, Send, Timer, Write
from missiond.core.handover.messages import MAX_REASON, Step
from missiond.core.handover.state import Phase
from missiond.core.handover.transfer import FAILED, Transfer
from missiond.errors import InvalidParameter

RECLAIMED = "it was reclaimed"


class Rollback(Transfer):
    """The part of a source that does not need the target."""

    _reclaimed = False
    """Whether a person wants it back; it is not started before that is on the disk."""

    def restarted(self, code: int, reason: str) -> list[Effect]:
        """The mission runs here again, or cannot be started."""
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
        """Take back what was committed, or try again to start what could not be started."""
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
        """A person gives up what could not be started again, with its state; raises InvalidParameter else."""
        if self.phase is not Phase.STRANDED:
            raise InvalidParameter("only the host that was to get the mission can drop it; reclaim it here")
        message = self._abort_message()
        return self._end(self.record.result, self.record.reason, (Step(message.step), message.body))

    def _due(self) -> list[Effect]:
        if self.phase is Phase.ENDED:
            return self._remove()
        return self.repeat() if self._saved else self._save()

    def write_failed(self, effect: Write, reason: str) -> list[Effect]:
        """Take back what is not on the disk."""
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
