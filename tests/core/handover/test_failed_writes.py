# SPDX-License-Identifier: Apache-2.0
"""What is not on the disk is neither done nor said."""

from __future__ import annotations

from missiond.core.handover import effects as do
from missiond.core.handover.effects import Timer
from missiond.core.handover.record import Phase
from standins.worlds.handover_coordinator import (
    IDENTITY,
    PEER,
    PREPARED,
    T,
    committed,
    coordinator,
    named,
    target,
    timers,
)


def test_a_reclaim_that_cannot_be_written_starts_nothing_until_it_can() -> None:
    it, transfer = committed()
    (write,) = (effect for effect in it.reclaim(transfer) if isinstance(effect, do.Write))
    effects = it.write_failed(write, "disk full")
    assert named(effects) == []
    assert timers(effects).keys() == {Timer.RETRY}
    assert it.received(PEER, transfer, "prepared", PREPARED) == []
    effects = it.timer_expired(transfer, Timer.RETRY)
    assert named(effects) == ["Write restarting", "RestartHere restarting", "Send abort"]


def test_an_outcome_that_cannot_be_written_is_not_said() -> None:
    it = coordinator(target(Phase.COMMITTED))
    (write,) = (effect for effect in it.unit_started(T) if isinstance(effect, do.Write))
    assert named(it.write_failed(write, "disk full")) == []
    assert it.received(PEER, T, "commit", {"fence": 3}) == []
    assert it.received(PEER, T, "unknown", {}) == []
    assert named(it.timer_expired(T, Timer.RETRY)) == ["Write started", "Send started"]


def test_a_record_that_cannot_be_removed_is_not_said_to_be_gone() -> None:
    it, transfer = committed()
    effects = it.received(PEER, transfer, "started", {"identity": IDENTITY, "fence": 1})
    (remove,) = (effect for effect in effects if isinstance(effect, do.Remove))
    assert named(it.write_failed(remove, "I/O error")) == []
    assert it.received(PEER, transfer, "started", {"identity": IDENTITY, "fence": 1}) == []
    assert named(it.timer_expired(transfer, Timer.RETRY)) == ["Remove", "Send settled"]
    assert it.in_flight() == []
