# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import pairwise

from missiond.core.keepalive.thaw_pauses import AT_ONCE, CALM, FIRST, LONGEST, ThawPauses


def test_what_is_frozen_now_and_then_is_thawed_at_once() -> None:
    pauses = ThawPauses()
    for now in range(0, 10 * CALM, CALM):
        assert pauses.due("a", now) == now
        assert pauses.thawed("a", now)


def test_what_is_frozen_in_a_loop_is_thawed_now_and_then() -> None:
    pauses, now = ThawPauses(), 0
    times: list[int] = []
    while now < 10 * 60_000:
        now = pauses.due("a", now)
        assert pauses.thawed("a", now) == (not times)
        times.append(now)
    gaps = [after - before for before, after in pairwise(times)]
    assert set(gaps[: AT_ONCE - 1]) == {0}
    gaps = gaps[AT_ONCE - 1 :]
    assert gaps[0] == FIRST
    assert gaps == sorted(gaps)
    assert gaps[-1] == LONGEST
    assert pauses.due("b", now) == now


def test_those_that_are_calm_are_forgotten() -> None:
    pauses = ThawPauses()
    for number in range(5000):
        pauses.thawed(str(number), number * CALM // 10)
    assert len(pauses._past) <= 1024
