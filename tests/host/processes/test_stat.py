# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time

import pytest

from missiond.host.clocks import boottime
from missiond.host.processes.stat import TICKS, started


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the two clocks say, in ns: a host that was booted 1000 s after the epoch."""
    said = {"wall": 5_000_000_000_000, "boot": 4_000_000_000_000}
    monkeypatch.setattr(time, "time_ns", lambda: said["wall"])
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: said["boot"])
    monkeypatch.setattr(boottime, "boot", boottime._Boot())
    return said


def test_started_is_the_same_at_each_look(clocks: dict[str, int]) -> None:
    first = started(7 * TICKS)
    assert first == 1_007_000_000
    for late in (1, 999, 40_000_000):  # between one clock and the other
        clocks["boot"] += 1_000_000_000 + late
        clocks["wall"] += 1_000_000_000
        assert started(7 * TICKS) == first


def test_a_clock_that_was_set_is_followed(clocks: dict[str, int]) -> None:
    assert started(0) == 1_000_000_000
    clocks["wall"] += 2 * 86_400_000_000_000
    assert started(0) == 1_000_000_000 + 2 * 86_400_000_000
    clocks["wall"] -= 2 * 86_400_000_000_000
    assert started(0) == 1_000_000_000
