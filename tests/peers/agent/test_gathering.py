# SPDX-License-Identifier: Apache-2.0
"""However much a peer says, others hear of it a few times a second."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from missiond.peers.agent import gathering
from missiond.peers.agent.gathering import Gathering
from missiond.peers.transport import channel as channels
from missiond.peers.transport.channel import Channel
from missiond.peers.transport.frames import frame
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


class Transport:
    """What reads for a channel."""

    def __init__(self) -> None:
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False


async def test_who_makes_work_without_end_is_not_read_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ClockLoop(monkeypatch)
    monkeypatch.setattr(channels, "time", SimpleNamespace(monotonic=lambda: loop.now))
    transport, channel, worked = Transport(), Channel(), 0

    class Owner:
        def message(self, data: bytes) -> None:
            nonlocal worked
            worked += 1
            loop.now += 0.1

        def writable(self, *, now: bool) -> None:
            pass

        def lost(self, reason: str, *, broken: bool) -> None:
            pass

    channel.attach(Owner())
    channel._transport = transport  # type: ignore[assignment]
    begun = loop.now
    while loop.now < begun + 20:
        if transport.reading:
            channel.data_received(frame(b"x"))
        else:
            loop.advance(0.1)
    assert 0.1 * worked <= 20 * channels.SHARE + 2
    assert 0.1 * worked >= 20 * channels.SHARE - 2
    channel._transport = None
    channel.connection_lost(None)
    assert asyncio.get_running_loop() is not None
