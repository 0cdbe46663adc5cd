# SPDX-License-Identifier: Apache-2.0
"""Addresses, timers and complaints."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.host.clocks.boottime import BootClock
from missiond.peers.log_limiter import PeerLogLimiter
from missiond.peers.timers import Timers
from missiond.peers.transport import listening
from missiond.peers.transport.address import Address, group, parse_address
from missiond.peers.transport.channel import Channels
from missiond.peers.transport.listener import Listener
from missiond.peers.transport.listening import Listening
from missiond.peers.transport.sockets import is_here, listen_on
from standins.clients.raw_peer import context


@pytest.mark.parametrize(
    "text",
    [
        "host:1",
        "my_nas:8637",
        "büro.local:8637",
        "a.b-c.example:8637",
        "192.0.2.1:65535",
        "[2001:db8::1]:5",
        "[fe80::1%eth0]:5",
    ],
)
def test_addresses_are_read_and_written(text: str) -> None:
    assert str(parse_address(text)) == text


@given(st.text(max_size=40))
def test_other_text_is_refused_or_read(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)).port == address.port


def test_a_network_is_one_origin() -> None:
    assert group("2001:db8::1") == group("2001:db8::ffff:2") != group("2001:db8:0:1::1")
    assert group("::ffff:192.0.2.1") == group("192.0.2.1") == "192.0.2.1"
    assert group("fe80::1%eth0") == "fe80::"
    assert group("rubbish") == "rubbish"
    assert str(Address("::1", 5)) == "[::1]:5"


def test_it_listens_on_both_protocols() -> None:
    with listen_on("::", 0, everywhere=True) as sock:
        port = sock.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            if host == "::1" and sock.family != socket.AF_INET6:
                continue
            socket.create_connection((host, port), timeout=5).close()


def test_it_listens_where_this_host_is_not_yet() -> None:
    with listen_on("192.0.2.1", 0) as sock:
        assert sock.getsockname()[0] == "192.0.2.1"
    with pytest.raises(OSError, match=r"."):
        is_here("192.0.2.1")
    is_here("127.0.0.1")


async def test_one_address_keeps_no_other_from_being_listened_on(
    timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str | None] = []
    monkeypatch.setattr(listening, "_FIRST", 20)
    listener = Listener(context, Channels(), PeerLogLimiter(timers.clock), lambda _: None, lambda _: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        hosts = ("127.0.0.2", "192.0.2.1", "127.0.0.3", "fe80::1%nothing")
        places = Listening(hosts, port, listener, timers, said.append)
        try:
            places.look()
            assert places.port == port
            assert [sock.getsockname()[0] for sock in listener._sockets] == ["192.0.2.1", "127.0.0.3"]
            [sentence] = said
            assert sentence is not None
            assert f"127.0.0.2:{port}: Address already in use" in sentence
            assert f"192.0.2.1:{port}: Cannot assign requested address" in sentence
            assert "fe80::1%nothing" in sentence
            places.look()
            assert len(said) == 1
            taken.close()
            while len(said) == 1:  # asked again by itself
                await asyncio.sleep(0.01)
            assert said[1] is not None
            assert "already in use" not in said[1]
        finally:
            places.close()
            await listener.close()


async def test_changes_of_the_network_put_no_socket_off(
    timers: Timers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_FIRST", 20)
    listener = Listener(context, Channels(), PeerLogLimiter(timers.clock), lambda _: None, lambda _: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        places = Listening(["127.0.0.2"], taken.getsockname()[1], listener, timers, lambda _: None)
        try:
            for _ in range(20):
                places.look()
            taken.close()
            async with asyncio.timeout(5.0):
                while not listener.port:
                    await asyncio.sleep(0.01)
        finally:
            places.close()
            await listener.close()


@pytest.fixture
async def timers() -> AsyncIterator[Timers]:
    """Some."""
    made = Timers(BootClock())
    yield made
    made.close()


async def test_timers_in_their_order(timers: Timers) -> None:
    fired: list[str] = []
    done = asyncio.Event()

    def late() -> None:
        fired.append("late")
        done.set()

    timers.after("late", 30, late)
    timers.after("early", 5, lambda: fired.append("early"))
    timers.after("moved", 1, lambda: fired.append("wrong"))
    timers.after("moved", 15, lambda: fired.append("moved"))
    timers.after("dropped", 2, lambda: fired.append("dropped"))
    timers.drop("dropped")
    timers.drop("never there")
    timers.at("early", None, lambda: None)
    timers.after("early", 8, lambda: fired.append("early"))
    await done.wait()
    assert fired == ["early", "moved", "late"]


async def test_a_timer_that_sets_itself_again_does_not_hold_up_the_loop(timers: Timers) -> None:
    count = 0
    done = asyncio.Event()

    def again() -> None:
        nonlocal count
        count += 1
        if count == 100:
            done.set()
        timers.after("again", 0, again)

    again()
    turns = 0
    while not done.is_set():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 50


async def test_timers_that_move_often_do_not_pile_up(timers: Timers) -> None:
    for number in range(10_000):
        timers.after("moved", 1000 + number, lambda: None)
    assert len(timers._due._heap) < 100


class Clock:
    """Stands still unless moved."""

    time = 0

    def now(self) -> int:
        """Milliseconds."""
        return self.time


def test_each_is_complained_about_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    complaints = PeerLogLimiter(clock)
    for _ in range(100):
        complaints.report("somebody", "shouts")
    assert caplog.messages == ["somebody: shouts"]
    clock.time = 3_600_000
    complaints.report("somebody", "shouts")
    assert len(caplog.messages) == 2


def test_many_do_not_fill_the_journal(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    complaints = PeerLogLimiter(clock)
    for number in range(1000):
        complaints.report(f"host {number}", "shouts")
    assert len(caplog.messages) == 30
    assert len(complaints._said) <= 256
    clock.time = 600_000
    complaints.report("another", "shouts")
    assert "970 similar" in caplog.messages[-2]
    assert caplog.messages[-1] == "another: shouts"
