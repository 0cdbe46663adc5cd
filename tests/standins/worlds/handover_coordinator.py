# SPDX-License-Identifier: Apache-2.0
"""A coordinator with one peer, and hand-overs brought as far as a test wants them."""

from __future__ import annotations

import itertools

from missiond.core.handover import effects as do
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import Effect, Timer
from missiond.core.handover.options import ContinueOptions, HandoverLimits, MovingMission
from missiond.core.handover.record import Phase, Record, Role

PEER, OTHER = "b" * 64, "c" * 64
T = "e" * 32
IDENTITY = "d" * 32
SHA = "5" * 64
TERMS = ContinueOptions(continuation=1, want={"a": 1})
LAUNCH = MovingMission(description={"argv": ["/x"]})
OFFER = {
    "mission": 7, "identity": IDENTITY, "fence": 3, "description": {}, "want": {}, "keep_source": False,
    "free_install": False, "pulled": False,
}  # fmt: skip
PREPARED = {"sha256": SHA, "identity": IDENTITY, "fence": 1}


def coordinator(
    *records: Record, fences: dict[str, int] | None = None, limits: HandoverLimits | None = None
) -> Coordinator:
    numbers = itertools.count(1)
    made = Coordinator(lambda: f"{next(numbers):032x}", limits)
    made.load(records, fences or {})
    made.link(PEER, True)
    return made


def named(effects: list[Effect]) -> list[str]:
    """Names of effects, without those that change nothing outside."""
    idle = (do.SetTimer, do.StateProgress, do.Installing, do.TellState, do.ForgetTransfer)
    return [
        " ".join(
            filter(
                None,
                (
                    type(it).__name__,
                    getattr(it, "step", ""),
                    getattr(getattr(it, "record", None), "phase", ""),
                ),
            )
        )
        for it in effects
        if not isinstance(it, idle)
    ]


def timers(effects: list[Effect]) -> dict[Timer, int | None]:
    return {effect.timer: effect.after for effect in effects if isinstance(effect, do.SetTimer)}


def sending() -> tuple[Coordinator, str]:
    """A source that has sent its state."""
    it = coordinator()
    transfer, _ = it.push(PEER, 7, LAUNCH, TERMS)
    it.received(PEER, transfer, "accepted", {})
    it.owner_answered(transfer, True)
    it.state_captured(transfer, 3, SHA)
    return it, transfer


def committed() -> tuple[Coordinator, str]:
    it, transfer = sending()
    it.received(PEER, transfer, "prepared", PREPARED)
    it.mission_stopped(transfer)
    return it, transfer


def target(phase: Phase) -> Record:
    return Record(
        transfer=T,
        role=Role.TARGET,
        phase=phase,
        peer=PEER,
        mission=7,
        identity=IDENTITY,
        fence=3,
        size=3,
        sha256=SHA,
    )
