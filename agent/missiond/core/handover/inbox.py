# SPDX-License-Identifier: Apache-2.0
"""What peers say, also of transfers that are not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from missiond.core.handover import messages
from missiond.core.handover.effects import Effect, Send
from missiond.core.handover.messages import Step
from missiond.core.handover.record import Record
from missiond.core.handover.registry import Registry
from missiond.core.handover.source import SourceSide
from missiond.core.handover.state import Phase, Role
from missiond.core.handover.target import TargetSide
from missiond.core.handover.transfer import FAILED, Body
from missiond.core.link.checks import BadMessage
from missiond.errors import Code

_QUIET = frozenset({Step.UNKNOWN, Step.SETTLED, Step.ABORT})
"""Steps that are not answered where the transfer is unknown: nothing is left to be done about it."""
_BUSY = int(Code.CONTINUE_IN_PROGRESS)


class PeerInbox:
    """Hands each message to its transfer, begins new ones, and says what is unknown."""

    def __init__(self, table: Registry) -> None:
        self._table = table

    def received(self, peer: str, transfer: str, step: str, body: Mapping[str, Any]) -> list[Effect]:
        """Take in a message; raises BadMessage for what no well-made peer says, which changes nothing."""
        messages.random_id(transfer)
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
