# SPDX-License-Identifier: Apache-2.0
"""Lists that follow each other: served here, and followed from there."""

from __future__ import annotations

import dataclasses

import pytest

from missiond.core.link.message_types import (
    LinkRefused,
    Message,
    Resync,
    SnapshotsMessage,
    Subscribe,
    Unsubscribe,
    Update,
    WatchMission,
)
from missiond.core.link.rows import decode, encode
from missiond.core.sync.replica import Replica
from standins.worlds.sync_host import mission
from standins.worlds.sync_lone import Lone

SUBSCRIBE = Subscribe(1, 0, False, 0, 0, False)
LIST = Update(1, 9, 0, 5, full=True, rows=(encode(mission(1)), encode(mission(2))), removed=())
CHANGE = Update(1, 9, 5, 6, full=False, rows=(encode(mission(3)),), removed=(1,))


def updates(messages: list[Message]) -> list[tuple[int, int, list[int], tuple[int, ...]]]:
    """From, to, rows and removed of updates alone."""
    assert all(isinstance(message, Update) for message in messages), messages
    return [
        (message.prev_seq, message.last_seq, [decode(row)[0] for row in message.rows], message.removed)
        for message in messages
        if isinstance(message, Update)
    ]


def change(lone: Lone, *begun: int, ended: tuple[int, ...] = (), tag: int = 0) -> None:
    lone.published.change([mission(number, tag=tag) for number in begun], ended)
    lone.session.published_changed()


def test_the_list_and_then_its_changes() -> None:
    lone = Lone()
    change(lone, 1, 2)
    assert lone.take() == []
    lone.hear(SUBSCRIBE)
    assert updates(lone.take()) == [(0, 2, [1, 2], ())]
    lone.advance(250)
    change(lone, 3, ended=(1,))
    assert updates(lone.take()) == [(2, 4, [3], (1,))]


def test_the_first_change_goes_at_once_and_a_burst_together() -> None:
    lone = Lone()
    lone.hear(SUBSCRIBE)
    lone.advance(1000)
    lone.take()
    for number in range(1, 6):
        change(lone, number)
        lone.advance(10)
    assert updates(lone.take()) == [(0, 1, [1], ())]
    lone.advance(199)
    assert lone.take() == []
    lone.advance(1)
    assert updates(lone.take()) == [(1, 5, [2, 3, 4, 5], ())]
    lone.advance(250)
    assert lone.take() == []


def test_a_peer_that_has_some_gets_the_rest() -> None:
    lone = Lone()
    change(lone, 1, 2, 3)
    lone.hear(dataclasses.replace(SUBSCRIBE, list_id=lone.published.list_id, have_seq=2))
    assert updates(lone.take()) == [(2, 3, [3], ())]
    lone.hear(dataclasses.replace(SUBSCRIBE, sub=2, list_id=lone.published.list_id, have_seq=3))
    assert updates(lone.take()) == [(3, 3, [], ())]  # up to date, and told so


def test_changes_that_do_not_concern_a_tag_are_not_sent() -> None:
    lone = Lone()
    lone.hear(dataclasses.replace(SUBSCRIBE, tag=5))
    lone.take()
    lone.advance(250)
    change(lone, 1, 2)
    lone.advance(250)
    assert lone.take() == []
    change(lone, 3, tag=5)
    assert updates(lone.take()) == [(0, 3, [3], ())]


def test_unsubscribed_is_left_alone() -> None:
    lone = Lone()
    lone.hear(SUBSCRIBE)
    lone.take()
    change(lone, 1)
    lone.hear(Unsubscribe(), Resync(4), WatchMission(True))
    lone.session.snapshot_changed(1)
    lone.advance(2000)
    assert lone.take() == []


def test_asked_again_the_whole_list_is_sent_under_the_new_number() -> None:
    lone = Lone()
    lone.hear(SUBSCRIBE)
    change(lone, 1)
    lone.take()
    lone.hear(Resync(8))
    (update,) = lone.take()
    assert isinstance(update, Update)
    assert (update.sub, update.full, len(update.rows)) == (8, True, 1)


def test_without_permission_a_subscription_waits() -> None:
    lone = Lone(permitted=False)
    change(lone, 1)
    lone.hear(dataclasses.replace(SUBSCRIBE, snapshots=True))
    (refused,) = lone.take()
    assert isinstance(refused, LinkRefused)
    assert refused.sub == 1
    assert lone.told == []
    lone.session.permit(True)
    assert updates(lone.take()) == [(0, 1, [1], ())]
    assert lone.told == [("snapshots_wanted", True)]
    lone.session.permit(False)
    change(lone, 2)
    lone.advance(1000)
    assert [message.kind for message in lone.take()] == ["refused"]
    assert lone.told[-1] == ("snapshots_wanted", False)
    lone.session.permit(True)
    assert updates(lone.take()) == [(1, 2, [2], ())]


def test_permission_lost_amid_a_list_begins_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("missiond.core.sync.publisher._HEAD", 256 * 1024 - 60)
    lone = Lone()
    change(lone, 1, 2, 3)
    lone.session.can_send(False)
    lone.hear(SUBSCRIBE)

    def one_at_a_time(message: Message) -> None:
        lone.said.append(message)
        lone.session.can_send(False)

    lone.session._send = one_at_a_time
    lone.session.can_send(True)
    assert [update[2] for update in updates(lone.take())] == [[1]]
    lone.session.permit(False)
    change(lone, 4)
    lone.session.permit(True)
    for _ in range(4):
        lone.session.can_send(True)
    assert updates(lone.take()) == [(0, 4, [number], ()) for number in range(1, 5)]


def test_asked_again_amid_a_list_its_rest_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("missiond.core.sync.publisher._HEAD", 256 * 1024 - 60)
    lone = Lone()
    change(lone, 1, 2, 3)

    def one_at_a_time(message: Message) -> None:
        lone.said.append(message)
        lone.session.can_send(False)

    lone.session._send = one_at_a_time
    lone.hear(SUBSCRIBE, Resync(2))
    for _ in range(3):
        lone.session.can_send(True)
    said = lone.take()
    assert [message.sub for message in said if isinstance(message, Update)] == [1, 2, 2, 2]


def test_snapshots_are_told_of_those_who_watch() -> None:
    lone = Lone()
    change(lone, 1, 2)
    change(lone, 3, tag=7)
    lone.session.snapshot_changed(1)
    lone.hear(dataclasses.replace(SUBSCRIBE, snapshots=True))
    lone.take()
    lone.session.snapshot_changed(1)
    assert lone.take() == [SnapshotsMessage((1,))]
    for number in (2, 1, 2, 99):
        lone.session.snapshot_changed(number)
    lone.advance(1000)
    assert lone.take() == [SnapshotsMessage((2, 1))]
    lone.hear(WatchMission(False))
    lone.session.snapshot_changed(1)
    lone.advance(2000)
    assert lone.take() == []
    lone.hear(dataclasses.replace(SUBSCRIBE, sub=2, tag=7), WatchMission(True))
    lone.take()
    lone.session.snapshot_changed(1)
    lone.session.snapshot_changed(3)
    assert lone.take() == [SnapshotsMessage((3,))]
    lone.session.close("enough")
    assert [event for event in lone.told if event[0] == "snapshots_wanted"] == [
        ("snapshots_wanted", on) for on in (True, False, True, False)
    ]


def test_a_list_is_followed() -> None:
    lone = Lone(up=False)
    lone.session.sync(0, False)
    lone.session.want_snapshots(True)
    lone.start()
    assert lone.take()[2:] == [Subscribe(1, 0, False, 0, 0, True)]
    lone.told.clear()
    lone.hear(LIST, CHANGE, dataclasses.replace(CHANGE, prev_seq=6, last_seq=7), SnapshotsMessage((2, 1)))
    assert lone.view.rows() == [mission(2), mission(3)]
    assert lone.told == [("list_changed",), ("list_changed",), ("snapshot_changed", 2)]
    lone.session.want_snapshots(False)
    assert lone.take() == [WatchMission(False)]


def test_a_new_link_goes_on_where_the_old_one_ended() -> None:
    view = Replica()
    view.apply(LIST)
    lone = Lone(view=view)
    lone.session.sync(0, False)
    assert lone.take() == [Subscribe(1, 0, False, 9, 5, False)]
    lone.hear(CHANGE)
    assert lone.told == [("list_changed",)]


def test_what_does_not_follow_is_asked_for_again() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    lone.hear(LIST)
    lone.take()
    lone.hear(dataclasses.replace(CHANGE, prev_seq=6, last_seq=7))
    assert lone.take() == [Resync(2)]
    lone.hear(CHANGE)  # under way since before
    assert len(lone.view) == 2
    lone.hear(dataclasses.replace(LIST, sub=2, last_seq=7))
    assert lone.view.seq == 7


def test_a_peer_that_never_makes_sense_is_cut_off() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    for sub in range(1, 7):
        lone.hear(dataclasses.replace(CHANGE, sub=sub))
    assert lone.told[-1][0] == "closed"
    assert lone.told[-1][2]


def test_a_peer_that_makes_no_sense_now_and_then_is_borne() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    for sub in range(1, 20):
        lone.hear(dataclasses.replace(CHANGE, sub=sub))
        lone.advance(13_000)
    assert lone.session.up


def test_a_list_without_end_breaks_the_protocol() -> None:
    lone = Lone(view=Replica(max_rows=1))
    lone.session.sync(0, False)
    lone.hear(LIST)
    assert lone.told == [("closed", "a list of more than 1 rows or 4194304 bytes", True)]


def test_stop_empties_and_start_begins_again() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    lone.session.sync(0, False)
    lone.hear(LIST)
    assert len(lone.take()) == 1
    lone.session.stop_sync()
    lone.session.stop_sync()
    lone.hear(CHANGE, LIST)
    assert len(lone.view) == 0
    assert not lone.view.complete
    assert lone.take() == [Unsubscribe()]
    lone.session.sync(0, False)
    assert lone.take() == [Subscribe(2, 0, False, 0, 0, False)]
    lone.hear(LIST)  # of the first time
    assert not lone.view.complete
    lone.hear(dataclasses.replace(LIST, sub=2))
    assert len(lone.view) == 2


def test_stop_before_a_new_wish_was_told() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    lone.session.can_send(False)
    lone.session.sync(5, False)
    lone.session.stop_sync()
    lone.take()
    lone.session.can_send(True)
    assert lone.take() == [Unsubscribe()]


def test_another_tag_is_another_list() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    lone.hear(LIST)
    lone.session.sync(5, False)
    assert not lone.view.complete
    assert lone.take()[-1] == Subscribe(2, 5, False, 0, 0, False)
    lone.hear(dataclasses.replace(CHANGE))
    assert lone.take() == []


def test_a_refusal_is_told_and_asking_again_tries_again() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    lone.hear(LIST)
    lone.take()
    lone.told.clear()
    lone.hear(LinkRefused("not you", 7))
    assert lone.told == []
    lone.hear(LinkRefused("not you", 1))
    lone.hear(LinkRefused("not you", 1))
    assert lone.told == [("sync_refused", "16300501: the peer refuses: not you")]
    assert lone.view.refused
    lone.session.sync(0, False)
    assert lone.take() == [Subscribe(2, 0, False, 9, 5, False)]
    lone.hear(LinkRefused("still not you", 2))
    assert lone.told[1:] == [("sync_refused", "16300501: the peer refuses: still not you")]
    assert lone.view.refused


def test_the_list_is_told_of_when_it_comes_again_though_it_is_the_same() -> None:
    lone = Lone()
    lone.session.sync(0, False)
    lone.hear(LIST, LinkRefused("not you", 1))
    lone.told.clear()
    lone.hear(Update(1, 9, 5, 5, False, (), ()))
    assert lone.told == [("list_changed",)]
    assert not lone.view.refused
    lone.hear(Update(1, 9, 5, 5, False, (), ()))
    assert lone.told == [("list_changed",)]


def test_nothing_is_taken_that_nobody_asked_for() -> None:
    lone = Lone()
    lone.hear(LIST, SnapshotsMessage((1,)), LinkRefused("no", 1))
    assert lone.told == []
    assert lone.session.up
