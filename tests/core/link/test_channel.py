# SPDX-License-Identifier: Apache-2.0
"""What crosses a link for hand-overs: order, answers, room, and what a peer may not do."""

from __future__ import annotations

import pytest

from missiond.core.link.checks import BadMessage
from missiond.core.link.letters import Cancel, Chunk, Got, Letter, State, Taken
from missiond.core.link.message_types import Message, Ping
from missiond.core.link.timeouts import MAX_LETTERS, MAX_REFUSED, MAX_STATES, MAX_WAITING, WINDOW
from missiond.errors import DistributedServiceFailed, MissionNotFound, PermissionDenied, TransactionFailed
from standins.worlds.channel_pair import MAX_CHUNK, Memory, Pair, texts

T, U = "a" * 32, "b" * 32


def test_letters_arrive_in_order_and_are_answered() -> None:
    pair = Pair()
    for number in range(20):
        pair.one.send(T, f"s{number}")
    pair.exchange()
    assert [step for _, step, _ in pair.other.letters] == [f"s{number}" for number in range(20)]
    assert pair.one.outcomes == [(f"s{number}", None) for number in range(20)]


def test_an_error_goes_back_as_what_it_is() -> None:
    pair = Pair()
    pair.other.refusal = MissionNotFound("there is none")
    pair.one.send(T, "offer")
    pair.exchange()
    [(_, error)] = pair.one.outcomes
    assert isinstance(error, MissionNotFound)
    assert error.text == "there is none"


def test_only_so_many_letters_are_under_way_or_wait() -> None:
    pair = Pair()
    pair.other.hold = True
    for _ in range(MAX_WAITING):
        pair.one.send(T, "x")
    said = pair.exchange()
    assert said.count(said[0]) == 1
    assert len(said) == MAX_LETTERS
    assert len(pair.other.letters) == 1  # one after the other
    for _ in range(MAX_LETTERS):
        pair.one.send(T, "x")
    with pytest.raises(TransactionFailed):
        pair.one.send(T, "x")


def test_an_agent_that_does_not_answer() -> None:
    pair = Pair()
    pair.other.hold = True
    pair.one.send(T, "x")
    pair.exchange()
    assert pair.other.handovers.next_deadline() == pair.clock.now() + 10_000
    pair.advance(10_000)
    pair.other.replies.popleft()(None)  # too late
    pair.exchange()
    assert texts(pair.one.outcomes) == [("x", "the agent of that host does not answer; send it again later")]


def test_a_peer_that_does_not_answer() -> None:
    pair = Pair()
    pair.one.send(T, "x")
    assert pair.one.handovers.next() is not None
    pair.advance(45_000)
    assert texts(pair.one.outcomes) == [("x", "the peer has not answered in time; ask again")]
    pair.one.handovers.received(Taken(1))  # it does after all
    with pytest.raises(BadMessage):
        pair.one.handovers.received(Taken(1))


def test_a_state_arrives_whole() -> None:
    pair = Pair()
    source, sink = Memory(bytes(range(256)) * 20_000), Memory()
    pair.other.sinks[T] = sink
    pair.one.send_state(T, source)
    pair.exchange()
    assert sink.data == source.data
    assert pair.one.outcomes == [(T, None)]
    assert source.closed
    assert source.kept == sorted(source.kept)
    assert source.kept[-1] == source.size


@pytest.mark.parametrize("size", [0, 1, MAX_CHUNK, MAX_CHUNK + 1, WINDOW, WINDOW + 1])
def test_sizes(size: int) -> None:
    pair = Pair()
    source, sink = Memory(b"x" * size), Memory()
    pair.other.sinks[T] = sink
    pair.one.send_state(T, source)
    pair.exchange()
    assert len(sink.data) == size
    assert pair.one.outcomes == [(T, None)]


def test_no_more_is_under_way_than_the_window() -> None:
    pair = Pair()
    source, sink = Memory(b"x" * (3 * WINDOW)), Memory()
    sink.slow = True
    pair.other.sinks[T] = sink
    pair.one.send_state(T, source)
    pair.exchange()
    assert sink.waiting == WINDOW
    pair.one.send(T, "urgent")
    pair.exchange()
    assert pair.one.outcomes == [("urgent", None)]
    while len(sink.data) < source.size:
        sink.keep()
        pair.exchange()
        assert sink.waiting <= WINDOW
    assert pair.one.outcomes[-1] == (T, None)


def test_it_goes_on_where_it_stopped() -> None:
    pair = Pair()
    source, sink = Memory(bytes(range(256)) * 10_000), Memory()
    pair.other.sinks[T] = sink
    pair.one.send_state(T, source)
    pair.exchange(most=9)
    kept = len(sink.data)
    assert 0 < kept < source.size
    pair.one.handovers.close("cable")
    pair.other.handovers.close("cable")
    text = "the link to the peer has ended (cable); send it again when it is back"
    assert texts(pair.one.outcomes) == [(T, text)]
    again = Pair()
    again.other.sinks[T] = sink
    again.one.send_state(T, source)
    said = again.exchange()
    assert sink.data == source.data
    assert sum(len(each.data) for each in said if isinstance(each, Chunk)) == source.size - kept


def test_states_take_turns() -> None:
    pair = Pair()
    for transfer in (T, U):
        pair.other.sinks[transfer] = Memory()
        pair.one.send_state(transfer, Memory(b"x" * 10 * MAX_CHUNK))
    numbers = [each.n for each in pair.exchange() if isinstance(each, Chunk)]
    assert numbers == [1, 2] * 10


def test_a_source_that_is_not_there_yet_and_one_that_ends_early() -> None:
    pair = Pair()
    slow, short = Memory(b"slow"), Memory(b"short", size=9)
    slow.slow = True
    for transfer, source in ((T, slow), (U, short)):
        pair.other.sinks[transfer] = Memory()
        pair.one.send_state(transfer, source)
    pair.exchange()
    assert texts(pair.one.outcomes) == [(U, "too short")]
    slow.slow = False
    pair.exchange()
    assert pair.one.outcomes[-1] == (T, None)


def test_a_state_that_is_refused_or_given_up() -> None:
    pair = Pair()
    pair.one.send_state(T, Memory(b"x"))
    pair.exchange()
    assert texts(pair.one.outcomes) == [(T, "not expected")]
    sink = pair.other.sinks[U] = Memory()
    sink.slow = True
    pair.one.send_state(U, Memory(b"x" * 3 * WINDOW))
    pair.exchange()
    pair.one.handovers.abandon(U, DistributedServiceFailed("forgotten"))
    pair.exchange()
    assert texts(pair.one.outcomes)[1:] == [(U, "forgotten")]
    assert sink.inbound is None
    for _ in range(MAX_STATES):
        pair.one.send_state(U, Memory(b"x" * 3 * WINDOW))
    with pytest.raises(TransactionFailed):
        pair.one.send_state(U, Memory(b"x"))


def test_a_state_that_stalls() -> None:
    pair = Pair()
    sink = pair.other.sinks[T] = Memory()
    sink.slow = True
    pair.one.send_state(T, Memory(b"x" * 3 * WINDOW))
    pair.exchange()
    pair.advance(59_999)
    assert pair.one.outcomes == []
    pair.advance(1)
    text = "the peer takes nothing more of the state; ask again later"
    assert texts(pair.one.outcomes) == [(T, text)]


BAD: dict[str, list[Message]] = {
    "an answer to no request": [Taken(1)],
    "a state's answer to no request": [Got(1, 0)],
    "a piece of nothing": [Chunk(1, 0, b"x")],
    "a piece that does not follow": [State(1, T, 0, 9), Chunk(1, 1, b"x")],
    "a piece twice": [State(1, T, 0, 9), Chunk(1, 0, b"x"), Chunk(1, 0, b"x")],
    "more than announced": [State(1, T, 0, 3), Chunk(1, 0, b"long")],
    "after the end": [State(1, T, 0, 1), Chunk(1, 0, b"x"), Chunk(1, 1, b"x")],
    "one number twice": [State(1, T, 0, 9), State(1, T, 0, 9)],
    "another kind": [Ping(1)],
    "letters without end": [Letter(n, T, "x", "{}") for n in range(1, 10)],
    "states without end": [State(n, U, 0, 1) for n in range(1, 10)],
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_peer_may_do(name: str) -> None:
    pair = Pair()
    pair.other.hold = True
    pair.other.sinks[T] = Memory()
    *good, bad = BAD[name]
    for message in good:
        pair.other.handovers.received(message)
        if "without end" not in name:
            while pair.other.handovers.next() is not None:
                pass
    with pytest.raises(BadMessage):
        pair.other.handovers.received(bad)


def test_more_than_the_window_is_not_taken() -> None:
    pair = Pair()
    sink = pair.other.sinks[T] = Memory()
    sink.slow = True
    pair.other.handovers.received(State(1, T, 0, 10 * WINDOW))
    assert pair.other.handovers.next() == Got(1, 0)
    for number in range(WINDOW // MAX_CHUNK):
        pair.other.handovers.received(Chunk(1, number * MAX_CHUNK, b"x" * MAX_CHUNK))
    with pytest.raises(BadMessage):
        pair.other.handovers.received(Chunk(1, WINDOW, b"x"))


@pytest.mark.parametrize("kept", [4, 10])
def test_a_receiver_that_gets_what_was_not_sent(kept: int) -> None:
    pair = Pair()
    pair.one.send_state(T, Memory(b"x" * 9))
    assert pair.one.handovers.next() == State(1, T, 0, 9)
    if kept == 4:
        pair.one.handovers.received(Got(1, 0))
    with pytest.raises(BadMessage):
        pair.one.handovers.received(Got(1, kept))


def test_refused_for_too_long() -> None:
    pair = Pair()
    pair.other.refusal = PermissionDenied("no")
    for _ in range(MAX_REFUSED + 1):
        pair.one.send(T, "offer")
        pair.exchange()
    pair.one.send(T, "offer")
    with pytest.raises(BadMessage):
        pair.exchange()
    pair.clock.advance(60_000)
    pair.other.handovers.received(Letter(999, T, "offer", "{}"))


def test_pieces_of_a_refused_state_that_were_under_way_do_no_harm() -> None:
    pair = Pair()
    sink = pair.other.sinks[T] = Memory()
    pair.other.handovers.received(State(1, T, 0, 9))
    assert pair.other.handovers.next() == Got(1, 0)
    assert sink.inbound is not None
    sink.inbound.failed(DistributedServiceFailed("full"))
    pair.other.handovers.received(Chunk(1, 0, b"x"))
    assert isinstance(pair.other.handovers.next(), Taken)
    pair.other.handovers.received(Chunk(1, 1, b"x"))
    pair.other.handovers.received(Cancel(1))
    assert sink.data == b""
