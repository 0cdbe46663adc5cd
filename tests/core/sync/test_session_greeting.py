# SPDX-License-Identifier: Apache-2.0
"""From hello to up, and what ends a session before and after."""

from __future__ import annotations

import dataclasses

import pytest

from missiond.core.link.message_types import (
    Accepted,
    AgentBack,
    Ask,
    Bye,
    Hello,
    Ignored,
    LinkRefused,
    Message,
    Ping,
    Pong,
    Renamed,
    Resync,
    Subscribe,
    Unsubscribe,
    WatchMission,
)
from missiond.errors import DistributedServiceFailed
from standins.worlds.sync_host import device
from standins.worlds.sync_lone import HERE, Lone

SUBSCRIBE = Subscribe(1, 0, False, 0, 0, False)


def test_hello_and_accepted_both_ways() -> None:
    lone = Lone(up=False)
    lone.session.start()
    assert lone.take() == [Hello((1, 1), HERE, "here", "1", "test")]
    lone.hear(lone.their_hello)
    assert lone.take() == [Accepted(1)]
    assert not lone.session.up
    lone.hear(Accepted(1))
    assert lone.session.up
    assert lone.session.peer == lone.their_hello
    assert lone.told == [("up", "there")]


@pytest.mark.parametrize(
    "message",
    [
        SUBSCRIBE,
        Ping(1),
        Ask(1, "info", 1),
        Unsubscribe(),
        Resync(1),
        WatchMission(True),
        Renamed("x"),
        Accepted(1),
    ],
)
def test_nothing_counts_before_hello(message: Message) -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.hear(message)
    assert lone.told[-1][0] == "closed"
    assert lone.told[-1][2]
    assert isinstance(lone.said[-1], Bye)


@pytest.mark.parametrize("message", [SUBSCRIBE, Ping(1), Accepted(2)])
def test_nothing_counts_before_accepted(message: Message) -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.hear(lone.their_hello, message)
    assert [event[0] for event in lone.told] == ["closed"]
    assert lone.told[0][2]


def test_what_may_be_ignored_is_ignored_at_any_time() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.hear(Ignored())
    lone.start()
    lone.hear(Ignored())
    assert lone.session.up


def test_a_host_that_is_renamed_says_so_once_it_is_up() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.session.rename("soon")
    lone.session.rename("here now")
    assert [message.kind for message in lone.take()] == ["hello"]
    lone.hear(lone.their_hello, Accepted(1))
    assert lone.take() == [Accepted(1), Renamed("here now")]
    lone.session.can_send(False)
    lone.session.rename("late")
    lone.session.rename("later")
    assert lone.take() == []
    lone.session.can_send(True)
    assert lone.take() == [Renamed("later")]
    lone.hear(Renamed("there now"))
    assert lone.told == [("up", "there"), ("renamed", "there now")]


def test_an_agent_that_is_back_is_told_of_once_and_only_where_it_was_away() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.session.agent_back()
    lone.take()
    lone.hear(lone.their_hello, Accepted(1))
    assert lone.take() == [Accepted(1)]
    lone.session.can_send(False)
    lone.session.agent_back()
    lone.session.agent_back()
    lone.session.can_send(True)
    assert lone.take() == [AgentBack()]
    lone.hear(AgentBack())
    assert lone.told == [("up", "there"), ("agent_back",)]


def test_a_hello_with_the_id_of_another_device_breaks_the_protocol() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.hear(dataclasses.replace(lone.their_hello, device=device("x")))
    assert lone.told == [("closed", "a hello with another device's id", True)]


@pytest.mark.parametrize("message", [Accepted(1), Hello((1, 1), device("t"), "", "", "")])
def test_a_greeting_comes_once(message: Message) -> None:
    lone = Lone()
    lone.hear(message)
    assert lone.told == [("closed", f"{message.kind} a second time", True)]


def test_no_hello_in_time() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.session.tick()
    lone.advance(10_000)
    assert lone.told == [("closed", "no hello in time", False)]
    assert lone.session.next_deadline() is None


def test_no_version_in_common() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.take()
    lone.hear(dataclasses.replace(lone.their_hello, versions=(2, 3)))
    (refused,) = lone.said
    assert isinstance(refused, LinkRefused)
    assert "1 to 1 are spoken here, 2 to 3 there" in refused.reason
    assert lone.told == [("closed", refused.reason, False)]


def test_the_peers_refusal_is_passed_on() -> None:
    lone = Lone(up=False)
    lone.session.start()
    lone.hear(LinkRefused("no version in common"))
    assert lone.told == [("closed", "the peer said: no version in common", False)]


@pytest.mark.parametrize(("newest", "theirs"), [(2, 1), (1, 2)])
def test_a_conflict_of_versions_is_not_fixed_unless_asked_for(newest: int, theirs: int) -> None:
    lone = Lone(newest=newest, theirs=theirs)
    with pytest.raises(DistributedServiceFailed, match=f"version {newest} .* meets version {theirs}"):
        lone.session.sync(0, False)
    assert lone.take() == []
    lone.session.sync(0, True)
    assert lone.take() == [Subscribe(1, 0, True, 0, 0, False)]
    lone.hear(SUBSCRIBE)
    (refused,) = lone.take()
    assert isinstance(refused, LinkRefused)
    assert refused.sub == 1
    lone.session.published_changed()
    assert lone.take() == []
    lone.hear(dataclasses.replace(SUBSCRIBE, sub=2, fix_conflict=True))
    assert [message.kind for message in lone.take()] == ["update"]


def test_a_conflict_that_shows_later_is_told() -> None:
    lone = Lone(newest=2, up=False)
    lone.session.sync(0, False)
    lone.start()
    assert [event[0] for event in lone.told] == ["sync_refused", "up"]
    assert [message.kind for message in lone.take()] == ["hello", "accepted"]
    lone.session.sync(0, True)
    assert lone.take() == [Subscribe(1, 0, True, 0, 0, False)]


def test_the_end_is_told_once_and_nothing_follows() -> None:
    lone = Lone()
    lone.session.close("enough")
    lone.session.close("again")
    lone.session.broken("worse")
    lone.hear(Ping(1), Bye("me too"))
    lone.session.published_changed()
    lone.session.can_send(True)
    lone.session.tick()
    lone.session.sync(0, False)
    lone.session.probe(1)
    assert lone.take() == [Bye("enough")]
    assert lone.told == [("closed", "enough", False)]
    assert (lone.session.up, lone.session.closed) == (False, True)


def test_bytes_that_are_no_message_end_it_with_a_word() -> None:
    lone = Lone()
    lone.session.broken("x" * 5000)
    assert lone.take() == [Bye("x" * 1024)]
    assert lone.told[0][2]


def test_no_last_word_to_a_peer_that_does_not_read() -> None:
    lone = Lone()
    lone.session.can_send(False)
    lone.session.close("enough")
    assert lone.take() == []


def test_silence_is_asked_about_and_then_ends_it() -> None:
    lone = Lone()
    lone.advance(40_000)
    assert lone.take() == [Ping(1)]
    lone.hear(Pong(1))
    lone.advance(40_000)
    assert lone.take() == [Ping(2)]
    lone.hear(WatchMission(False))  # any word will do
    lone.advance(100_000)
    assert lone.take() == [Ping(3)]
    assert lone.told == [("closed", "no word from the peer", False)]


def test_links_wake_the_host_together() -> None:
    lones = [Lone() for _ in range(3)]
    for late, lone in enumerate(lones):
        lone.advance(late * 777 + 1)
        lone.hear(Ping(1))
    assert len({lone.session.next_deadline() for lone in lones}) == 1


def test_a_host_that_slept_does_not_take_its_own_absence_for_the_peers() -> None:
    lone = Lone()
    lone.advance(40_000)
    lone.take()
    lone.clock.advance(3_600_000)
    lone.session.tick()
    assert lone.take() == [Ping(2)]
    lone.advance(59_999)
    assert lone.session.up
    lone.advance(1)
    assert not lone.session.up


def test_a_ping_is_answered() -> None:
    lone = Lone()
    lone.hear(Ping(7))
    assert lone.take() == [Pong(7)]


def test_a_probe_is_answered_soon_or_ends_it() -> None:
    lone = Lone()
    lone.session.probe(2_000)
    assert lone.take() == [Ping(1)]
    lone.hear(Pong(1))
    lone.advance(2_000)
    assert lone.session.up
    lone.session.probe(2_000)
    lone.hear(WatchMission(False), Pong(1))  # under way since before
    lone.session.probe(5_000)  # does not prolong it
    lone.advance(2_000)
    assert lone.told == [("closed", "no word from the peer", False)]


def test_a_probe_before_the_link_is_up_is_nothing() -> None:
    lone = Lone(up=False)
    lone.session.probe(1)
    assert lone.take() == []
