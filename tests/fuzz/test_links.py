# SPDX-License-Identifier: Apache-2.0
"""Bytes that a paired peer may send: they end its link at most, whatever they say of hand-overs."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fuzz.messages import DAMAGES
from missiond.core.link.letters import Cancel, Chunk, Got, Letter, State, Taken
from missiond.core.link.message_types import Message, Ping, Unsubscribe, WatchMission
from missiond.core.link.messages import serialise
from missiond.core.link.timeouts import MAX_CHUNK
from missiond.core.sync.session_config import Local, Timing
from missiond.core.sync.versioned_list import VersionedList
from missiond.peers.agent.notifier import AgentNotifier
from missiond.peers.device import Device, Devices
from missiond.peers.handover.handovers import HandoverRelay
from missiond.peers.link import Link, LinkTerms
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.timers import Timers
from missiond.peers.transport.frames import frame
from missiond.peers.trust import TrustedPeer
from standins.agents.peer_units import Heard
from standins.open_files import open_files
from standins.worlds.clock import FakeClock

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("MISSIOND_FUZZ_CALLS", "5000")) // 10
HERE, THERE = "0" * 64, "f" * 64
T = "1f" * 16
SIZE = 3 * MAX_CHUNK
NUMBERS = st.one_of(st.integers(0, 3), st.sampled_from([2**31, 2**32 - 1]))
OFFSETS = st.sampled_from([0, 1, MAX_CHUNK, 2 * MAX_CHUNK, SIZE, SIZE + 1, 2**62])
TRANSFERS = st.sampled_from([T, "2e" * 16])
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Letter, NUMBERS, TRANSFERS, st.sampled_from(["offer", "pull", "x"]), st.just("{}")),
    st.builds(State, NUMBERS, TRANSFERS, OFFSETS, st.sampled_from([0, SIZE, 2**62])),
    st.builds(Chunk, NUMBERS, OFFSETS, st.sampled_from([b"x", b"x" * MAX_CHUNK])),
    st.builds(Got, NUMBERS, OFFSETS),
    st.builds(Taken, NUMBERS, st.sampled_from([0, 201, 16300506, 5]), st.just("")),
    st.builds(Cancel, NUMBERS),
    st.builds(Ping, NUMBERS),
    st.sampled_from([Unsubscribe(), WatchMission(snapshots=True)]),
)


class Wire:
    """In the place of a channel."""

    host = "192.0.2.1"

    def __init__(self) -> None:
        self.open = True
        self.broken = False
        self.sent = 0

    def attach(self, _owner: object) -> None:
        pass

    def expect_bulk(self, *, bulk: bool) -> None:
        pass

    def send(self, *parts: bytes) -> None:
        frame(*parts)
        self.sent += 1

    def close(self) -> None:
        self.open = False

    def cut_off(self, _reason: str) -> None:
        self.open, self.broken = False, True


class Ends:
    """In the place of all links, of their unit, of names and of who is told."""

    def up(self, link: Link) -> None:
        pass

    def closed(self, link: Link, _reason: str, *, broken: bool) -> None:
        link.device.link = None

    def snapshots_wanted(self) -> None:
        pass

    def list_changed(self, *_: object) -> None:
        pass

    snapshot_changed = sync_refused = asked = heard = list_changed


class Scene:
    """A link that is up, over which a state is expected and another is sent."""

    def __init__(self, directory: Path) -> None:
        self.heard = Heard()
        self.timers = Timers(FakeClock(1000))  # type: ignore[arg-type]
        self.devices = Devices(self.heard.peer_changed, self.heard.details_changed, self.heard.peer_gone)
        device = self.devices.trusted(TrustedPeer(THERE, "there", permissions=("sync", "continue")))
        complaints = PeerLogLimiter(self.timers.clock)
        notifier = cast(AgentNotifier, self.heard)
        self.handovers = HandoverRelay(self.devices, notifier, complaints, self.timers)
        ends: Any = Ends()
        local = Local(HERE, "here", "1", "test", features=("handover",))
        terms = LinkTerms(
            local, VersionedList(1), Timing(), self.timers, ends, ends, self.handovers, ends
        )  # fmt: skip
        self.wire = Wire()
        self.link = device.link = Link(self.wire, device, terms, ends, dialler=HERE)  # type: ignore[arg-type]
        self.device: Device = device
        self.file = os.open(directory / "kept", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.state = os.memfd_create("sent")
        os.write(self.state, b"x" * SIZE)

    async def play(self, messages: list[bytes]) -> None:
        """Greet, and say it all."""
        self.link.start()
        hello = {
            "kind": "hello", "versions": [1, 1], "device": THERE, "name": "", "instance": "", "software": "",
            "features": ["handover"],
        }  # fmt: skip
        for words in (hello, {"kind": "accepted", "version": 1}):
            self.link.message(json.dumps(words).encode())
        await self.handovers.expect(self.device, T, self.file, 0, SIZE)
        sending = asyncio.ensure_future(self.handovers.send_state(self.device, T, self.state, 0, SIZE))
        letter = asyncio.ensure_future(self.handovers.send(self.device, T, "offer", "{}"))
        for message in messages:
            if self.wire.open:
                self.link.message(message)
            await asyncio.sleep(0)
        self.link.close("enough")
        self.handovers.reset()
        await asyncio.gather(sending, letter, return_exceptions=True)

    async def close(self) -> None:
        """Wait for what threads still do."""
        self.timers.close()
        await asyncio.get_running_loop().shutdown_default_executor()
        asyncio.get_running_loop()._default_executor = None  # type: ignore[attr-defined]
        asyncio.get_running_loop()._executor_shutdown_called = False  # type: ignore[attr-defined]
        for _ in range(3):
            await asyncio.sleep(0)
        assert os.fstat(self.file).st_size <= SIZE
        os.close(self.file)
        os.close(self.state)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """A loop for many examples; what is raised in it and not caught fails the test."""
    raised: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as running:
        running.get_loop().set_exception_handler(lambda _loop, context: raised.append(context))
        yield running
    assert raised == []


@pytest.mark.timeout(120 + EXAMPLES // 5)
def test_whatever_a_peer_says_of_hand_overs(
    runner: asyncio.Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def one(messages: list[bytes]) -> None:
        scene = Scene(tmp_path)
        try:
            async with asyncio.timeout(10):
                await scene.play(messages)
        finally:
            await scene.close()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(MESSAGES, st.lists(DAMAGES, max_size=1)), max_size=12))
    def check(said: list[tuple[Message, list[Any]]]) -> None:
        messages = []
        for message, damages in said:
            data = serialise(message)
            for damage in damages:
                data = damage.to(data) or b"{"
            messages.append(data)
        runner.run(one(messages))

    runner.run(one([]))
    before = open_files()
    check()
    assert len(open_files()) == len(before)
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == []
