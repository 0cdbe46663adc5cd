# SPDX-License-Identifier: Apache-2.0
"""A hand-over at the new host of the mission."""

from __future__ import annotations

from missiond.core.handover.effects import Check, Doubled, Effect, ReceiveState, Send, StartUnit, Timer, Write
from missiond.core.handover.messages import Step
from missiond.core.handover.record import UNPREPARED, Phase
from missiond.core.handover.transfer import FAILED, Body, Transfer
from missiond.errors import InvalidParameter

_OUTCOMES = frozenset({Phase.STARTED, Phase.FAILED})


class TargetSide(Transfer):
    """The target of a hand-over: prepares, waits for the source's COMMIT, and starts the mission once."""

    _have = 0
    """Bytes of the state that have arrived."""
    _opened = False
    _reclaimed = False

    def pull(self) -> list[Effect]:
        """Ask the source for an offer, for a caller here."""
        return [self._write(phase=Phase.PULLING), *self._begin_telling(), self._overall(), *self.repeat()]

    def offered(self, body: Body) -> list[Effect]:
        """Check the source's offer."""
        if self.phase not in {Phase.PULLING, Phase.CHECKING}:
            return self.repeat()
        if self.phase is Phase.CHECKING and self.record.identity:
            return []
        self._note(
            phase=Phase.CHECKING,
            mission=body["mission"],
            identity=body["identity"],
            fence=body["fence"],
            description=body["description"],
            want=body["want"],
            along=body["along"],
            tasks=body["tasks"],
            keep_source=body["keep_source"],
            free_install=body["free_install"],
        )
        record = self.record
        check = Check(record.transfer, record.peer, record.description, record.free_install)
        return [self._overall(), check, *self._probe_later()]

    def loaded(self) -> list[Effect]:
        """Drop an unprepared transfer, and start a committed one."""
        self._active = True
        match self.phase:
            case Phase.PULLING:
                return self.refuse(FAILED, "the agent was restarted")
            case Phase.COMMITTED:
                return [StartUnit(self.record.transfer, self.record)]
            case Phase.STARTED | Phase.FAILED:
                return self._told_before()
            case Phase.ENDED:
                return self._ended()
            case _:
                return []

    def repeat(self) -> list[Effect]:
        """Repeat messages the source may have missed."""
        match self.phase:
            case Phase.PULLING | Phase.CHECKING | Phase.RECEIVING:
                return [self._unprepared(), *self._probe_later()]
            case Phase.PREPARED:
                return [self._send(Step.PREPARED, sha256=self.record.sha256, **self._name()), *self._retry()]
            case Phase.STARTED if self._saved:
                return [self._send(Step.STARTED, note=self.record.reason, **self._name()), *self._retry()]
            case Phase.FAILED if self._saved:
                verdict = self._verdict(self.record.result or FAILED, self.record.reason)
                return [self._send(Step.REFUSED, **verdict), *self._retry()]
            case _:
                return []

    # This host.

    def installing(self, percent: int) -> list[Effect]:
        """Report the progress of an installation, without repeating lost reports."""
        if self.phase is not Phase.CHECKING or not (told := self._installed(percent)):
            return []
        return [*told, self._send(Step.INSTALLING, percent=percent)]

    def checked(self, code: int, reason: str) -> list[Effect]:
        """Accept the offer (0), or refuse."""
        if self.phase is not Phase.CHECKING:
            return []
        if code:
            return self.refuse(code, reason)
        self._note(phase=Phase.RECEIVING)
        telling = [] if self._active else self._begin_telling()
        return [*telling, *self.repeat()]

    def state_received(self, have: int) -> list[Effect]:
        """Note how many bytes of the state have arrived."""
        if self.phase is not Phase.RECEIVING:
            return []
        self._have = have
        return self._progress(have)

    def state_complete(self) -> list[Effect]:
        """Write down PREPARED: the whole state is on the disk, with the right checksum."""
        if self.phase is not Phase.RECEIVING:
            return []
        self._attempt = 0
        return [
            self._timer(Timer.OVERALL, None),
            self._timer(Timer.STALL, None),
            self._write(phase=Phase.PREPARED),
            *self.repeat(),
        ]

    def state_failed(self, reason: str) -> list[Effect]:
        """Refuse a state: no room, or a wrong checksum."""
        return self.refuse(FAILED, reason) if self.phase is Phase.RECEIVING else []

    def unit_started(self, code: int, reason: str) -> list[Effect]:
        """Note the success of the start (0), or the failure."""
        if self.phase is not Phase.COMMITTED:
            return []
        self._attempt = 0
        phase = Phase.FAILED if code else Phase.STARTED
        return [self._write(phase=phase, **self._result(code, reason)), *self._outcome()]

    def drop(self) -> list[Effect]:
        """Give up by hand, and leave the source's state alone. Raises InvalidParameter after COMMIT."""
        if self.phase in UNPREPARED or self.phase is Phase.PREPARED:
            return self.refuse(FAILED, "it was dropped by hand")
        raise InvalidParameter(f"transfer {self.record.transfer} is {self.phase.value}; it cannot be dropped")

    def reclaim(self) -> list[Effect]:
        """Raise InvalidParameter: missions are reclaimed at the source."""
        raise InvalidParameter("only the host that the mission came from can reclaim it; run it there")

    def refuse(self, code: int, reason: str) -> list[Effect]:
        """End the transfer; nothing was started."""
        return self._end(code, reason, (Step.REFUSED, self._verdict(code, reason)))

    # The source.

    def received(self, step: Step, body: Body) -> list[Effect]:
        """React to a message of the source."""
        effects: list[Effect] = []
        match step:
            case Step.OFFER:
                effects = self.offered(body)
            case Step.STATE:
                effects = self._state(body)
            case Step.COMMIT:
                effects = self._commit(body["fence"])
            case Step.ABORT:
                effects = self._abort(body["code"], body["reason"])
            case Step.REFUSED if self.phase in UNPREPARED:
                effects = self._end(body["code"], body["reason"])
            case Step.SETTLED | Step.UNKNOWN if self.phase in _OUTCOMES and self._saved:
                effects = self._end(self.record.result, self.record.reason)
            case Step.UNKNOWN if self.phase in UNPREPARED or self.phase is Phase.PREPARED:
                effects = self._end(FAILED, "the other host does not know of it (any more)")
            case Step.REFUSED | Step.SETTLED | Step.UNKNOWN:
                pass
            case _:
                raise self._bad(step)
        return effects

    def _state(self, body: Body) -> list[Effect]:
        size, sha256 = body["size"], body["sha256"]
        if self.phase is not Phase.RECEIVING:
            return self.repeat() if self.phase not in UNPREPARED else []
        effects: list[Effect] = []
        if not self._opened or (size, sha256) != (self.record.size, self.record.sha256):
            if size > self._limits.state:
                return self.refuse(FAILED, f"its state of {size} bytes is too large for this host")
            self._opened, self._have = True, 0
            self._note(size=size, sha256=sha256)
            effects += [
                self._timer(Timer.OVERALL, None),
                ReceiveState(self.record.transfer, size, sha256),
                *self._progress(0),
            ]
        if body["resume"]:
            effects.append(self._send(Step.RECEIVED, offset=self._have))
        return effects

    def _commit(self, fence: int) -> list[Effect]:
        match self.phase:
            case Phase.PREPARED:
                if fence != self.record.fence:
                    raise self._bad(Step.COMMIT)
                retry = self._timer(Timer.RETRY, None)
                return [
                    self._write(phase=Phase.COMMITTED),
                    retry,
                    StartUnit(self.record.transfer, self.record),
                ]
            case Phase.COMMITTED | Phase.STARTED | Phase.FAILED | Phase.ENDED:
                return self.repeat()
            case _:
                raise self._bad(Step.COMMIT)

    def _abort(self, code: int, reason: str) -> list[Effect]:
        match self.phase:
            case Phase.COMMITTED:
                self._reclaimed = True  # it is being started; whether that works decides
                return []
            case Phase.STARTED:
                return [*self._doubled(), *self._end(self.record.result, self.record.reason)]
            case Phase.FAILED:
                return self._end(self.record.result, self.record.reason)
            case Phase.ENDED:
                return []
            case _:
                return self._end(code or FAILED, reason)

    def _doubled(self) -> list[Effect]:
        """Warn, unless the mission has gone on from here meanwhile, back to where it came from perhaps."""
        if self._fences[self.record.identity] > self.record.fence:
            return []
        return [Doubled(self.record.transfer, self.record)]

    # Outcomes.

    def _outcome(self) -> list[Effect]:
        """Say what is on the disk now."""
        self._saved = True
        if self._reclaimed:
            return self._abort(0, "")
        telling = self._tell()
        return [*telling, *([self._write()] if telling else []), *self.repeat()]

    def _told_before(self) -> list[Effect]:
        telling = self._tell()
        return [*telling, self._write()] if telling else []

    def timer_expired(self, timer: Timer) -> list[Effect]:
        """Give up a wait for the source, or repeat a message."""
        if timer is not Timer.RETRY:
            return self.refuse(*self._too_long()) if self.phase in UNPREPARED else []
        if self.phase is Phase.ENDED:
            return self._remove()
        if not self._saved:
            return [self._write(), *self._outcome()]
        return self.repeat()

    def write_failed(self, effect: Write, reason: str) -> list[Effect]:
        """Stay in the phase on the disk."""
        failed = effect.record
        why = f"the transfer could not be written down ({reason})"
        if not failed.told:
            self._note(told=False)  # what was to be said after it was not
        match failed.phase:
            case Phase.PULLING:
                self._note(phase=Phase.ENDED, **self._result(FAILED, why))
                return self._ended()
            case Phase.PREPARED:
                return self.refuse(FAILED, why)
            case Phase.COMMITTED:
                self._note(phase=Phase.PREPARED)
                return self._retry()  # the source will commit again
            case Phase.ENDED:
                return self._ended()
            case _ if failed.told:
                return self.repeat()
            case _:
                # After a crash it is started again where that does no harm; so nobody may hear of it yet.
                return self._save_later()

    # Messages.

    def _unprepared(self) -> Send:
        """Return the message to repeat before PREPARED; a source in the know learns nothing new."""
        record = self.record
        if self.phase is Phase.RECEIVING:
            return self._send(Step.ACCEPTED, along=True)
        if self.phase is Phase.CHECKING:
            return self._send(Step.RECEIVED, offset=0)
        return self._send(
            Step.PULL,
            mission=record.mission,
            app_id=record.app_id,
            want=dict(record.want),
            keep_source=record.keep_source,
            free_install=record.free_install,
            tasks=record.tasks,
        )

    def _overall(self) -> Effect:
        return self._timer(Timer.OVERALL, self._limits.until_state(self.record.free_install))

    def _name(self) -> dict[str, object]:
        return {"identity": self.record.identity, "fence": self.record.fence}
