# SPDX-License-Identifier: Apache-2.0
"""What is told in a phase that it does not belong to changes nothing: it is late, or said twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import Effect, Timer
from missiond.core.handover.record import DURABLE, Phase, Role
from missiond.core.link.checks import BadMessage
from missiond.errors import InvalidParameter
from standins.worlds.handover_coordinator import (
    IDENTITY,
    LAUNCH,
    OFFER,
    PEER,
    PREPARED,
    SHA,
    TERMS,
    T,
    coordinator,
    named,
    target,
)

SOURCE = DURABLE - {Phase.PULLING, Phase.PREPARED, Phase.STARTED, Phase.FAILED}
TARGET = DURABLE - {Phase.OFFERED, Phase.STOPPING, Phase.RESTARTING, Phase.STRANDED}
BROUGHT_BACK = {Phase.STOPPING, Phase.RESTARTING, Phase.STRANDED}
"""A new run starts again what it finds so."""
Told = Callable[[Coordinator], list[Effect]]

HOST: dict[str, tuple[set[Phase], Told]] = {
    "checked": ({Phase.CHECKING}, lambda it: it.checked(T)),
    "refused": ({Phase.CHECKING}, lambda it: it.checked(T, 7, "no")),
    "installing": ({Phase.CHECKING}, lambda it: it.installing(T, 5)),
    "received": ({Phase.RECEIVING}, lambda it: it.state_received(T, 2)),
    "complete": ({Phase.RECEIVING}, lambda it: it.state_complete(T)),
    "spoilt": ({Phase.RECEIVING, Phase.OFFERED}, lambda it: it.state_failed(T, "full")),
    "unit started": ({Phase.COMMITTED}, lambda it: it.unit_started(T)),
    "captured": ({Phase.ASKED}, lambda it: it.state_captured(T, 3, SHA)),
    "sent": ({Phase.SENDING}, lambda it: it.state_sent(T, 3)),
    "restarted": (BROUGHT_BACK, lambda it: it.restarted(T)),
    "resolved": ({Phase.RESOLVING}, lambda it: it.resolved(T, 7, LAUNCH, 1)),
    "not resolved": ({Phase.RESOLVING}, lambda it: it.not_resolved(T, 7, "no")),
    "no answer": ({Phase.ASKED}, lambda it: it.timer_expired(T, Timer.ANSWER)),
    "stalled": ({Phase.SENDING}, lambda it: it.timer_expired(T, Timer.STALL)),
}
MESSAGES: dict[str, dict[str, Any]] = {
    "offer": OFFER,
    "state": {"size": 3, "sha256": SHA, "resume": True},
    "commit": {"fence": 3},
    "abort": {"code": 0, "reason": "", "fence": 3},
    "refused": {"code": 7, "reason": "no", "fence": 0},
    "settled": {},
    "unknown": {},
    "accepted": {},
    "received": {"offset": 2},
    "installing": {"percent": 5},
    "prepared": PREPARED,
    "started": {"identity": IDENTITY, "fence": 3, "note": ""},
    "probe": {},
}
PLACES = [(Role.SOURCE, phase) for phase in sorted(SOURCE)] + [
    (Role.TARGET, phase) for phase in sorted(TARGET)
]


def standing(role: Role, phase: Phase) -> Coordinator:
    return coordinator(replace(target(phase), role=role))


@pytest.mark.parametrize(
    ("role", "phase", "what"),
    [(*place, what) for place in PLACES for what, (belongs, _) in HOST.items() if place[1] not in belongs],
)
def test_of_this_host(role: Role, phase: Phase, what: str) -> None:
    _, tell = HOST[what]
    it = standing(role, phase)
    before = it.in_flight()
    assert named(tell(it)) == []
    assert it.in_flight() == before


@pytest.mark.parametrize("step", MESSAGES)
@pytest.mark.parametrize(("role", "phase"), PLACES)
def test_of_the_other_host(role: Role, phase: Phase, step: str) -> None:
    """A message out of phase is refused, passed over or answered; it never starts what may run elsewhere."""
    it = standing(role, phase)
    try:
        effects = it.received(PEER, T, step, MESSAGES[step])
    except BadMessage:
        effects = []
    starts = [name for name in named(effects) if name.startswith(("StartUnit", "RestartHere"))]
    may_start = (role, phase, step) == (Role.TARGET, Phase.PREPARED, "commit")
    taken_back = (
        role is Role.SOURCE and phase in {Phase.STOPPING, Phase.COMMITTED} and step in {"refused", "unknown"}
    )
    assert starts == [] or may_start or taken_back


def test_of_a_transfer_that_is_not_known() -> None:
    it = coordinator()
    assert [named(tell(it)) for _, tell in HOST.values()] == [[]] * len(HOST)


@pytest.mark.parametrize(("role", "phase"), PLACES)
def test_by_hand_only_what_is_in_doubt(role: Role, phase: Phase) -> None:
    if (role, phase) != (Role.SOURCE, Phase.COMMITTED):
        with pytest.raises(InvalidParameter):
            standing(role, phase).reclaim(T)
    if role is Role.SOURCE or phase not in {Phase.PULLING, Phase.PREPARED}:
        with pytest.raises(InvalidParameter):
            standing(role, phase).drop(T)


def test_a_state_that_goes_on_behind_its_end_is_refused() -> None:
    it = coordinator()
    transfer, _ = it.push(PEER, 7, LAUNCH, TERMS)
    it.received(PEER, transfer, "accepted", {})
    it.owner_answered(transfer, True)
    it.state_captured(transfer, 3, SHA)
    with pytest.raises(BadMessage):
        it.received(PEER, transfer, "received", {"offset": 4})
