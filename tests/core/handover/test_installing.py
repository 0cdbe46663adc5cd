# SPDX-License-Identifier: Apache-2.0
"""A program that is installed at the target first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from missiond.core.handover import effects as do
from missiond.core.handover.effects import Timer
from missiond.core.link.checks import BadMessage
from standins.worlds.handover_coordinator import LAUNCH, OFFER, PEER, TERMS, T, coordinator, named, timers


def test_free_install_gives_the_target_more_time() -> None:
    it = coordinator()
    _, effects = it.push(PEER, 7, LAUNCH, replace(TERMS, free_install=True))
    assert timers(effects)[Timer.OVERALL] == 40_000


def test_how_far_the_installation_is_only_rises() -> None:
    """Whatever comes twice or late; and nothing but that is said."""
    target = coordinator()
    target.received(PEER, T, "offer", {**OFFER, "free_install": True})
    told = [target.installing(T, percent) for percent in (0, 40, 40, 20, 41)]
    assert [named(effects) for effects in told] == [["Send installing"]] * 2 + [[], [], ["Send installing"]]
    assert told[1][0] == do.Installing(T, 40)
    target.checked(T)
    assert target.installing(T, 100) == []

    source = coordinator()
    transfer, _ = source.push(PEER, 7, LAUNCH, replace(TERMS, free_install=True))
    heard = [source.received(PEER, transfer, "installing", {"percent": each}) for each in (0, 40, 40, 20, 41)]
    assert [each for effects in heard for each in effects] == [
        do.Installing(transfer, each) for each in (0, 40, 41)
    ]
    source.received(PEER, transfer, "accepted", {})
    assert source.received(PEER, transfer, "installing", {"percent": 100}) == []
    for odd in ({"percent": 101}, {"percent": -1}, {"percent": "all"}, {}):
        with pytest.raises(BadMessage):
            source.received(PEER, transfer, "installing", odd)
    with pytest.raises(BadMessage):
        target.received(PEER, T, "installing", {"percent": 7})
    assert named(target.received(PEER, "f" * 32, "installing", {"percent": 7})) == ["Send unknown"]


def test_an_installation_that_takes_too_long_is_said_to() -> None:
    source = coordinator()
    transfer, _ = source.push(PEER, 7, LAUNCH, replace(TERMS, free_install=True))
    source.received(PEER, transfer, "installing", {"percent": 0})
    [done] = [it for it in source.timer_expired(transfer, Timer.OVERALL) if isinstance(it, do.TellDone)]
    assert (done.code, "InstallTimeout=" in done.reason) == (16300504, True)

    target = coordinator()
    target.received(PEER, T, "offer", {**OFFER, "free_install": True})
    target.installing(T, 0)
    [said] = [it for it in target.timer_expired(T, Timer.OVERALL) if isinstance(it, do.Send)]
    assert (said.step, said.body["code"]) == ("refused", 16300504)

    source = coordinator()
    transfer, _ = source.push(PEER, 7, LAUNCH, replace(TERMS, free_install=True))
    source.received(PEER, transfer, "installing", {"percent": 100})
    source.received(PEER, transfer, "accepted", {})
    [done] = [it for it in source.timer_expired(transfer, Timer.OVERALL) if isinstance(it, do.TellDone)]
    assert (done.code, done.reason) == (16300501, "it took too long")
