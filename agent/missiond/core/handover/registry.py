# SPDX-License-Identifier: Apache-2.0
"""The hand-overs of this host by id, with fences and links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from missiond.core.handover.effects import Effect
from missiond.core.handover.options import HandoverLimits, MovingMission
from missiond.core.handover.record import RUNS_AT_SOURCE, Phase, Record, Role
from missiond.core.handover.source import SourceSide
from missiond.core.handover.target import TargetSide
from missiond.core.handover.transfer import Fences, Transfer

T = TypeVar("T", bound=Transfer)
HERE = RUNS_AT_SOURCE | {Phase.STOPPING}
"""Phases of a source with a valid number of the mission."""
_OVER = frozenset({Phase.STARTED, Phase.FAILED, Phase.ENDED})
"""Phases in which another hand-over of the mission may begin."""
_LEAVING = 64


class Registry:
    """The state shared by all inputs of the Coordinator."""

    def __init__(self, new_id: Callable[[], str], limits: HandoverLimits) -> None:
        self.limits = limits
        self.new_id = new_id
        self.fences = Fences()
        self.unreadable: tuple[str, ...] = ()
        self.linked: set[str] = set()
        self._transfers: dict[str, Transfer] = {}
        self._leaving: dict[str, Transfer] = {}

    def all(self) -> list[Transfer]:
        """List the unfinished transfers, oldest first."""
        return list(self._transfers.values())

    def get(self, transfer: str) -> Transfer | None:
        """Return the transfer with this id, unless over."""
        return self._transfers.get(transfer)

    def add(self, record: Record) -> SourceSide | TargetSide:
        """Take in a transfer of this host, in place of one with the same id."""
        kind = SourceSide if record.role is Role.SOURCE else TargetSide
        found = kind(record, self.limits, self.fences, linked=record.peer in self.linked)
        self._transfers[record.transfer] = found
        return found

    def add_source(self, record: Record, mission: int, launch: MovingMission) -> SourceSide:
        """Take in a transfer for a mission of this host. A copy is a mission with a new identity."""
        tasks = {"tasks": list(launch.tasks)} if launch.tasks and record.tasks != "without" else {}
        identity = self.new_id() if record.keep_source or not launch.identity else launch.identity
        found = self.add(
            replace(
                record,
                mission=mission,
                app_id=launch.app_id,
                identity=identity,
                fence=self.fences[identity] + 1,
                description=dict(launch.description),
                along={**launch.along, **tasks},
                has_owner=launch.has_owner,
                relaunch=launch.relaunch,
            )
        )
        assert isinstance(found, SourceSide)
        return found

    def tell(self, transfer: str, kind: type[T], what: Callable[[T], list[Effect]]) -> list[Effect]:
        """Report an event to a transfer; without effects for a finished one, and for another kind."""
        found = self._transfers.get(transfer)
        return self.done(found, what(found)) if isinstance(found, kind) else []

    def done(self, transfer: Transfer, effects: list[Effect]) -> list[Effect]:
        """Let go of a transfer once over; every effect passes through here."""
        name = transfer.record.transfer
        if transfer.over and self._transfers.pop(name, None) is not None:
            self._leaving[name] = transfer
            while len(self._leaving) > _LEAVING:
                del self._leaving[next(iter(self._leaving))]
        return effects

    def recall(self, transfer: str) -> Transfer | None:
        """Return a transfer, taken in again where just let go of."""
        found = self._leaving.pop(transfer, None)
        if found is not None:
            found.over = False
            self._transfers[transfer] = found
        return self._transfers.get(transfer)

    def busy(self, mission: int, identity: str, but: str = "") -> bool:
        """Whether a mission is being handed over already: by number here (0: none) or identity."""
        for item in self._transfers.values():
            known = item.record
            if known.transfer == but:
                continue
            # A number from before the daemon was restarted may be another mission's by now.
            here = isinstance(item, SourceSide) and (item.phase in HERE or item.fresh)
            if here and mission and known.mission == mission:
                return True
            if identity and known.identity == identity and item.phase not in _OVER:
                return True
        return False

    def too_many(self, peer: str) -> bool:
        """Whether a peer has made this host hold too many; transfers of callers here do not count."""
        held = [item for item in self._of_peers() if item.record.peer == peer]
        waiting = sum(item.phase not in _OVER for item in held)
        return waiting >= self.limits.per_peer or len(held) >= self.limits.unsettled

    def no_space(self, transfer: TargetSide, size: int) -> str:
        """Return why a state does not fit beside the others here or on the way; empty if there is room.

        A state stays on the disk until both sides know the outcome, for as long as the source is away. A
        state too large by itself is refused by its transfer.
        """
        if transfer.record.asked_here or size > self.limits.state:
            return ""
        others = [
            each.record for each in self._of_peers() if isinstance(each, TargetSide) and each is not transfer
        ]
        of_peer = [record for record in others if record.peer == transfer.record.peer]
        for whose, records, times in (
            ("this host", of_peer, self.limits.states_per_peer),
            ("all hosts", others, self.limits.states),
        ):
            kept, most = sum(record.size for record in records), times * self.limits.state
            if kept + size > most:
                return (
                    f"with {size} bytes more, states of missions from {whose} that wait there would be over "
                    f"{most} bytes ({times} times StateMax=); wait for their end, or have some dropped there"
                )
        return ""

    def _of_peers(self) -> list[Transfer]:
        return [item for item in self._transfers.values() if not item.record.asked_here]
