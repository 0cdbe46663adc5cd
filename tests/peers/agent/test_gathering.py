# SPDX-License-Identifier: Apache-2.0
"""However much a peer says, others hear of it a few times a second."""

from __future__ import annotations

import pytest

from missiond.peers.agent import gathering
from missiond.peers.agent.gathering import Gathering
from standins.worlds.clock_loop import ClockLoop


class Heard:
    """What was told, with the time."""

    def __init__(self) -> None:
        self.lists: list[str] = []
        self.snapshots: list[tuple[str, int]] = []

    def changed(self, device: str) -> None:
        self.lists.append(device)

    def snapshot(self, device: str, mission: int) -> None:
        self.snapshots.append((device, mission))


async def test_the_first_is_told_at_once_and_a_flood_once_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ClockLoop(monkeypatch)
    heard = Heard()
    news = Gathering(heard.changed, heard.snapshot)
    news.list_changed("a")
    assert heard.lists == ["a"]
    for _ in range(1000):
        news.list_changed("a")
    news.list_changed("b")
    assert heard.lists == ["a", "b"]
    loop.advance(gathering.GAP)
    assert heard.lists == ["a", "b", "a"]
    loop.advance(gathering.GAP)
    assert loop.waiting == 0, "nothing wakes up at rest"
    news.list_changed("a")
    assert heard.lists == ["a", "b", "a", "a"]
    news.close()


async def test_snapshots_come_each_once_and_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ClockLoop(monkeypatch)
    heard = Heard()
    news = Gathering(heard.changed, heard.snapshot)
    missions = 2 * gathering.MOST_SNAPSHOTS + 1
    for number in list(range(missions)) * 3:
        news.snapshot_changed("a", number)
    for count in (1, 2):
        loop.advance(gathering.GAP)
        assert len(heard.snapshots) == count * gathering.MOST_SNAPSHOTS
    loop.advance(gathering.GAP)
    assert heard.snapshots == [("a", number) for number in range(missions)]
    assert heard.lists == []
    news.snapshot_changed("a", 1)
    news.forget("a")
    loop.advance(gathering.GAP)
    assert len(heard.snapshots) == missions
    assert loop.waiting == 0
