# SPDX-License-Identifier: Apache-2.0
"""The coordinator of all hand-overs of this host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from missiond.core.handover import messages
from missiond.core.handover.effects import Effect, Send, Timer, Write
from missiond.core.handover.messages import Step
from missiond.core.handover.options import ContinueOptions, HandoverLimits, MovingMission
from missiond.core.handover.record import UNPREPARED, Id, InFlight, Phase, Record, Role
from missiond.core.handover.registry import HERE, Registry
from missiond.core.handover.source import SourceSide
from missiond.core.handover.target import TargetSide
from missiond.core.handover.transfer import FAILED, Body, Fences, Transfer
from missiond.core.link.checks import BadMessage
from missiond.core.schema import check_of
from missiond.errors import AgentError, Code, ContinueInProgress, DistributedServiceFailed, InvalidParameter

_QUIET = frozenset({Step.UNKNOWN, Step.SETTLED, Step.ABORT})
"""Steps that are not answered where the transfer is unknown: nothing is left to be done about it."""
_BUSY = int(Code.CONTINUE_IN_PROGRESS)


class Coordinator:
    """The state machine of all hand-overs: takes one event after the other, and returns the effects of each.

    Effects are executed in their order, and all of them before the next event; those that report are only
    begun. A failed Write or Remove ends the later effects of the same event for its transfer; `write_failed`
    is called at once, and its effects executed, before anything else. An unknown transfer is no error: late
    reports have no effects.
    """

    def __init__(self, new_id: Callable[[], str], limits: HandoverLimits | None = None) -> None:
        """Begin without hand-overs.

        :param new_id: returns 32 random hexadecimal digits, in lower case, never the same again.
        """
        self._table = Registry(new_id, limits or HandoverLimits())

    def load(
        self, records: Iterable[Record], fences: Mapping[str, int], unreadable: Iterable[str] = ()
    ) -> list[Effect]:
        """Restore the hand-overs of an earlier daemon, once, before all else; links are reported afterwards.

        :param unreadable: transfers whose files are damaged: nothing is said about them to anybody, since
            "unknown" would let the other host drop what it has.
        """
        table = self._table
        table.fences = Fences(fences)
        table.unreadable = tuple(unreadable)
        found = [table.add(record) for record in records]
        for item in found:
            table.fences.learn(item.record.identity, item.record.fence)
        return [effect for item in found for effect in table.done(item, item.loaded())]

    def set_limits(self, limits: HandoverLimits) -> None:
        """Use these limits for transfers from now on."""
        self._table.limits = limits

    def in_flight(self) -> list[InFlight]:
        """List the unfinished hand-overs, oldest first."""
        found = [InFlight(item.record, item.record.peer in self._table.linked) for item in self._table.all()]
        for name in self._table.unreadable:
            nothing = Record(transfer=name, role=Role.SOURCE, phase=Phase.ENDED, peer="")
            found.append(InFlight(nothing, linked=False, readable=False))
        return found

    # People and programs.

    def push(
        self, peer: str, mission: int, launch: MovingMission, terms: ContinueOptions
    ) -> tuple[str, list[Effect]]:
        """Begin to move a mission of this host to another; return the id of the transfer, and effects.

        Raises InvalidParameter (want_param too large), DistributedServiceFailed (no link; nobody to give a
        state), ContinueInProgress.
        """
        terms.check()
        launch.check()
        self._check_link(peer)
        if self._table.busy(mission, launch.identity):
            raise ContinueInProgress(f"mission {mission} is being continued already; wait for its end")
        record = terms.record(self._table.new_id(), Role.SOURCE, Phase.OFFERED, peer)
        source = self._table.add_source(record, mission, launch)
        return record.transfer, self._table.done(source, source.begin(pulled=False))

    def pull(self, peer: str, mission: int, app_id: str, terms: ContinueOptions) -> tuple[str, list[Effect]]:
        """Begin to move a mission of another host here: the number there, or 0 and an application.

        Raises InvalidParameter (want_param too large), DistributedServiceFailed (no link),
        ContinueInProgress. All other failures, such as a missing mission, are told with ContinueDone.
        """
        terms.check()
        self._check_link(peer)
        for item in self._table.all():
            known = item.record
            same = known.mission == mission if mission else known.app_id == app_id
            if same and known.role is Role.TARGET and known.peer == peer and item.phase in UNPREPARED:
                raise ContinueInProgress("this mission is being continued already; wait for its end")
        transfer = self._table.new_id()
        record = terms.record(transfer, Role.TARGET, Phase.PULLING, peer, mission=mission, app_id=app_id)
        target = self._table.add(record)
        assert isinstance(target, TargetSide)
        return transfer, self._table.done(target, target.pull())

    def owner_answered(self, transfer: str, agree: bool) -> list[Effect]:
        """Take the owner's answer to AskOwner; with yes, a state follows.

        Raises InvalidParameter where the owner was not asked, or too long ago.
        """
        source = self._table.get(transfer)
        if not isinstance(source, SourceSide):
            raise InvalidParameter("nobody asks for this state (any more)")
        return self._table.done(source, source.owner_answered(agree))

    def reclaim(self, transfer: str) -> list[Effect]:
        """Take a mission in doubt back by hand: start a program here even if one runs there.

        Only in this way can a mission run twice. A target up to PREPARED drops the transfer on hearing of it;
        one that has started the mission keeps it, and both hosts warn (Doubled): only people can tell which
        of the two is to end. Raises InvalidParameter where there is nothing to reclaim.
        """
        found = self._require(transfer)
        return self._table.done(found, found.reclaim())

    def drop(self, transfer: str) -> list[Effect]:
        """Give up a prepared hand-over at the target by hand; raises InvalidParameter otherwise.

        The source keeps the state and lists the transfer until it is reclaimed there, or dropped after a
        failed reclaim.
        """
        found = self._require(transfer)
        return self._table.done(found, found.drop())

    # Peers.

    def received(self, peer: str, transfer: str, step: str, body: Mapping[str, Any]) -> list[Effect]:
        """Take a message of a peer with the permission `continue`, or of one asked by this host.

        Raises BadMessage for what no well-made peer says; nothing has changed then.
        """
        check_of(Id)(transfer)
        parsed = messages.parse(step, body)
        if parsed is None or transfer in self._table.unreadable:
            return []
        known, content = parsed
        found = self._table.get(transfer)
        if found is None:
            return self._unknown(peer, transfer, known, content)
        if found.record.peer != peer:
            raise BadMessage("a message about a transfer of another host")
        if known is Step.OFFER and isinstance(found, TargetSide) and not found.record.identity:
            return self._offered(found, content)
        if (
            known is Step.STATE
            and isinstance(found, TargetSide)
            and (reason := self._no_space(found, content))
        ):
            return self._table.done(found, found.state_failed(reason))
        return self._table.done(found, found.received(known, content))

    def link(self, peer: str, up: bool) -> list[Effect]:
        """Note the rise or fall of a link to a peer; a link there at `load` is reported as well."""
        (self._table.linked.add if up else self._table.linked.discard)(peer)
        return [
            effect
            for item in self._table.all()
            if item.record.peer == peer
            for effect in self._table.done(item, item.link(up))
        ]

    # Reports of effects.

    def resolved(self, transfer: str, mission: int, launch: MovingMission, continuation: int) -> list[Effect]:
        """Offer the mission found for a peer; `continuation` is for the answer of the owner."""
        found = self._table.get(transfer)
        if not isinstance(found, SourceSide) or found.phase is not Phase.RESOLVING:
            return []
        try:
            launch.check()
            if self._table.busy(mission, launch.identity, but=transfer):
                raise ContinueInProgress("the mission is being continued already")
        except AgentError as error:
            return self.not_resolved(transfer, int(error.code), error.text)
        record = replace(found.record, continuation=continuation)
        source = self._table.add_source(record, mission, launch)
        return self._table.done(source, source.begin(pulled=True))

    def not_resolved(self, transfer: str, code: int, reason: str) -> list[Effect]:
        """Refuse a peer's request for a mission."""
        found = self._table.get(transfer)
        if not isinstance(found, SourceSide) or found.phase is not Phase.RESOLVING:
            return []
        return self._table.done(found, found.refuse(code or FAILED, reason))

    def installing(self, transfer: str, percent: int) -> list[Effect]:
        """Note the progress of installing the offered program, 0 to 100, in any order."""
        return self._table.tell(transfer, TargetSide, lambda it: it.installing(percent))

    def checked(self, transfer: str, code: int = 0, reason: str = "") -> list[Effect]:
        """Accept an offer after a successful check, or refuse with `code`."""
        return self._table.tell(transfer, TargetSide, lambda it: it.checked(code, reason))

    def state_captured(self, transfer: str, size: int, sha256: str) -> list[Effect]:
        """Send the captured state, now on this disk (fsync); `sha256` in lower-case hexadecimal."""
        return self._table.tell(transfer, SourceSide, lambda it: it.state_captured(size, sha256))

    def state_failed(self, transfer: str, reason: str) -> list[Effect]:
        """Give up a hand-over for want of a state: not captured, not received, not kept, or damaged."""
        found = self._table.get(transfer)
        if isinstance(found, SourceSide | TargetSide):
            return self._table.done(found, found.state_failed(reason))
        return []

    def state_sent(self, transfer: str, offset: int) -> list[Effect]:
        """Note how many bytes of the state the link has taken."""
        return self._table.tell(transfer, SourceSide, lambda it: it.state_sent(offset))

    def state_received(self, transfer: str, have: int) -> list[Effect]:
        """Note how many bytes of the state are here, without a gap."""
        return self._table.tell(transfer, TargetSide, lambda it: it.state_received(have))

    def state_complete(self, transfer: str) -> list[Effect]:
        """Note the arrival of a whole state on this disk (fsync), with the right checksum."""
        return self._table.tell(transfer, TargetSide, lambda it: it.state_complete())

    def mission_stopped(self, transfer: str) -> list[Effect]:
        """Commit after StopMission, with no process of the mission left."""
        return self._table.tell(transfer, SourceSide, lambda it: it.mission_stopped())

    def stop_failed(self, transfer: str, reason: str) -> list[Effect]:
        """Take back a mission after a failed StopMission."""
        return self._table.tell(transfer, SourceSide, lambda it: it.stop_failed(reason))

    def mission_ended(self, mission: int) -> list[Effect]:
        """Give up the hand-over of a mission after an end nobody asked for."""
        return [
            effect
            for item in self._table.all()
            if isinstance(item, SourceSide) and item.record.mission == mission and item.phase in HERE
            for effect in self._table.done(item, item.mission_stopped())
        ]

    def unit_started(self, transfer: str, code: int = 0, reason: str = "") -> list[Effect]:
        """Note the success of StartUnit, or with `code` the final failure."""
        return self._table.tell(transfer, TargetSide, lambda it: it.unit_started(code, reason))

    def restarted(self, transfer: str, code: int = 0, reason: str = "") -> list[Effect]:
        """Note the success of RestartHere, or with `code` the failure."""
        return self._table.tell(transfer, SourceSide, lambda it: it.restarted(code, reason))

    def timer_expired(self, transfer: str, timer: Timer) -> list[Effect]:
        """React to the end of a timer of SetTimer."""
        return self._table.tell(transfer, Transfer, lambda it: it.timer_expired(timer))

    def write_failed(self, effect: Effect, reason: str) -> list[Effect]:
        """React to a failed Write or Remove; to be called before anything else."""
        found = self._table.recall(effect.transfer)
        if found is None:
            return []
        if isinstance(effect, Write):
            return self._table.done(found, found.write_failed(effect, reason))
        return self._table.done(found, found.removal_failed())

    def _check_link(self, peer: str) -> None:
        if peer not in self._table.linked:
            raise DistributedServiceFailed("the other host is not connected; try again when it is")

    def _require(self, transfer: str) -> Transfer:
        found = self._table.get(transfer)
        if found is None:
            raise InvalidParameter(f"there is no transfer {transfer[:64]!r} in flight; list them again")
        return found

    def _unknown(self, peer: str, transfer: str, step: Step, body: Body) -> list[Effect]:
        if step in _QUIET:
            return []
        if step is Step.PULL:
            return self._pulled(peer, transfer, body)
        if step is Step.OFFER and not body["pulled"]:
            record = Record(transfer=transfer, role=Role.TARGET, phase=Phase.CHECKING, peer=peer)
            if self._table.too_many(peer):
                return [_refusal(record, FAILED, "too many missions of yours wait here; try again later")]
            found = self._table.add(record)
            assert isinstance(found, TargetSide)
            return self._offered(found, body)
        if step is Step.STARTED and body["fence"] < (fence := self._table.fences[body["identity"]]):
            # It was taken back here, or has come back since, which the other host then knows.
            last = {"code": FAILED, "reason": "it was reclaimed", "fence": fence}
            return [Send(transfer, peer, Step.ABORT.value, last)]
        return [Send(transfer, peer, Step.UNKNOWN.value, {})]

    def _no_space(self, found: TargetSide, body: Body) -> str:
        """Why it is not taken; one that has been let in stays so."""
        here = found.record.size, found.record.sha256
        if found.phase is not Phase.RECEIVING or here == (body["size"], body["sha256"]):
            return ""
        return self._table.no_space(found, body["size"])

    def _offered(self, found: TargetSide, body: Body) -> list[Effect]:
        identity, fence = body["identity"], body["fence"]
        known = self._table.fences[identity]
        if fence <= known:
            # `fence` of the refusal tells the source what is known here, so that it can offer again.
            found.record = replace(found.record, fence=known)
            effects = found.refuse(FAILED, "it was here before, and later; offer it again")
        elif self._table.busy(0, identity, but=found.record.transfer):
            effects = found.refuse(_BUSY, "the mission is being continued already")
        else:
            effects = found.offered(body)
        return self._table.done(found, effects)

    def _pulled(self, peer: str, transfer: str, body: Body) -> list[Effect]:
        record = Record(
            transfer=transfer,
            role=Role.SOURCE,
            phase=Phase.RESOLVING,
            peer=peer,
            mission=body["mission"],
            app_id=body["app_id"],
            want=body["want"],
            keep_source=body["keep_source"],
            free_install=body["free_install"],
            tasks=body["tasks"],
        )
        if self._table.too_many(peer):
            return [_refusal(record, FAILED, "too many missions for you are on their way; try again later")]
        if self._table.busy(record.mission, ""):
            return [_refusal(record, _BUSY, "the mission is being continued already")]
        found = self._table.add(record)
        assert isinstance(found, SourceSide)
        return self._table.done(found, found.resolve())


def _refusal(record: Record, code: int, reason: str) -> Send:
    body = {"code": code, "reason": reason, "fence": 0}
    return Send(record.transfer, record.peer, Step.REFUSED.value, body)
