# SPDX-License-Identifier: Apache-2.0
"""How much of a disk peers can fill with states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.handover import effects as do
from missiond.core.handover.coordinator import Coordinator
from missiond.core.handover.effects import Effect
from missiond.core.handover.options import HandoverLimits
from missiond.core.handover.record import Phase, Record
from standins.worlds.handover_coordinator import OFFER, OTHER, PEER, SHA, TERMS, T, coordinator, named, target

MOST = 100
LIMITS = HandoverLimits(state=MOST)
THIRD = "f" * 64


def kept(phase: Phase, sizes: Iterable[int], peer: str = PEER) -> list[Record]:
    """Transfers from a peer that are here."""
    one = target(phase)
    return [
        replace(one, peer=peer, transfer=f"{peer[0]}{n:031x}", identity=f"{peer[0]}{n:031x}", size=size)
        for n, size in enumerate(sizes)
    ]


def state(it: Coordinator, size: int, transfer: str = T) -> list[Effect]:
    return it.received(PEER, transfer, "state", {"size": size, "sha256": SHA, "resume": False})


def offered(*records: Record) -> Coordinator:
    """Another one is about to come."""
    it = coordinator(*records, limits=LIMITS)
    it.received(PEER, T, "offer", OFFER)
    it.checked(T)
    return it


def reason(effects: list[Effect]) -> str:
    [refused] = [each for each in effects if isinstance(each, do.Send) and each.step == "refused"]
    assert refused.body["code"] == 16300501
    return str(refused.body["reason"])


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.COMMITTED, Phase.STARTED, Phase.FAILED])
def test_four_times_the_largest_of_one_peer(phase: Phase) -> None:
    """Whatever became of it: it is on the disk until the peer has confirmed that it knows."""
    records = kept(phase, [100, 100, 100, 60])
    assert named(state(offered(*records), 40)) == ["ReceiveState"]
    it = offered(*records)
    said = reason(state(it, 41))
    assert "this host" in said
    assert "400 bytes (4 times StateMax=)" in said
    assert T not in [each.record.transfer for each in it.in_flight()]


def test_eight_times_of_all_of_them() -> None:
    records = kept(Phase.PREPARED, [100] * 4, OTHER) + kept(Phase.PREPARED, [100] * 3, THIRD)
    assert named(state(offered(*records), 100)) == ["ReceiveState"]
    more = kept(Phase.PREPARED, [1])
    assert "all hosts" in reason(state(offered(*records, *more), 100))


def test_what_a_caller_here_fetches_is_its_own_affair() -> None:
    theirs = [replace(each, asked_here=True) for each in kept(Phase.PREPARED, [100] * 9)]
    assert named(state(offered(*theirs), 100)) == ["ReceiveState"]
    it = coordinator(*kept(Phase.PREPARED, [100] * 4), limits=LIMITS)
    transfer, _ = it.pull(PEER, 7, "", TERMS)
    it.received(PEER, transfer, "offer", OFFER | {"identity": "9" * 32, "pulled": True})
    it.checked(transfer)
    assert named(state(it, 100, transfer)) == ["ReceiveState"]


def test_too_large_by_itself_is_said_as_that() -> None:
    assert "too large" in reason(state(offered(*kept(Phase.PREPARED, [100] * 4)), MOST + 1))


def test_one_that_was_let_in_stays_so() -> None:
    """Also where settings change meanwhile: they are for those that begin later."""
    it = offered(*kept(Phase.PREPARED, [100] * 3))
    assert named(state(it, 100)) == ["ReceiveState"]
    it.set_limits(HandoverLimits(state=10))
    assert named(state(it, 100)) == []


def test_room_again_once_one_is_over() -> None:
    records = kept(Phase.PREPARED, [100] * 4)
    it = offered(*records)
    it.received(PEER, records[0].transfer, "abort", {"code": 16300501, "reason": "", "fence": 3})
    assert named(state(it, 100)) == ["ReceiveState"]


def test_outcomes_that_a_peer_never_confirms_are_counted() -> None:
    it = coordinator(*kept(Phase.FAILED, [0] * 63), limits=LIMITS)
    assert named(it.received(PEER, T, "offer", OFFER)) == ["Check"]
    it = coordinator(*kept(Phase.FAILED, [0] * 64), limits=LIMITS)
    assert named(it.received(PEER, T, "offer", OFFER)) == ["Send refused"]
    assert named(it.received(OTHER, T, "offer", OFFER)) == ["Check"]


@given(st.lists(st.tuples(st.sampled_from([PEER, OTHER, THIRD]), st.integers(0, MOST)), max_size=40))
def test_never_more_than_that(wanted: list[tuple[str, int]]) -> None:
    it = coordinator(limits=LIMITS)
    for peer in (OTHER, THIRD):
        it.link(peer, True)
    for number, (peer, size) in enumerate(wanted):
        transfer = f"{number:032x}"
        it.received(peer, transfer, "offer", OFFER | {"identity": transfer})
        it.checked(transfer)
        it.received(peer, transfer, "state", {"size": size, "sha256": SHA, "resume": False})
        it.state_complete(transfer)
    here = [each.record for each in it.in_flight()]
    assert sum(record.size for record in here) <= 8 * MOST
    for peer in (PEER, OTHER, THIRD):
        assert sum(record.size for record in here if record.peer == peer) <= 4 * MOST
