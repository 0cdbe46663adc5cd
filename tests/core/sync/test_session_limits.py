# SPDX-License-Identifier: Apache-2.0
"""Questions, and peers that read slowly or ask too much."""

from __future__ import annotations

import math
from typing import Any

import pytest

from missiond.core.link.message_types import Ask, DetailsAnswer, Message, Ping, Pong, Subscribe, Update
from missiond.core.link.values import Values
from missiond.errors import AgentError, DistributedServiceFailed, MissionNotFound, PermissionDenied
from standins.worlds.sync_host import mission
from standins.worlds.sync_lone import Lone

SUBSCRIBE = Subscribe(1, 0, False, 0, 0, False)
VALUE: Values = {"unit": ("s", "x.scope")}


@pytest.fixture
def lone() -> Lone:
    return Lone()


@pytest.fixture
def answers() -> list[Any]:
    return []


def test_a_question_and_its_answer(lone: Lone, answers: list[Any]) -> None:
    lone.session.ask("info", 7, answers.append)
    lone.session.ask("snapshot", 8, answers.append)
    assert lone.take() == [Ask(1, "info", 7), Ask(2, "snapshot", 8)]
    lone.hear(DetailsAnswer(2, None, 16300502, "there is no mission 8"), DetailsAnswer(1, VALUE))
    assert isinstance(answers[0], MissionNotFound)
    assert str(answers[0]) == "16300502: there is no mission 8"
    assert answers[1] == VALUE


def test_an_error_that_is_not_known_here_is_a_failure_there(lone: Lone, answers: list[Any]) -> None:
    lone.session.ask("info", 7, answers.append)
    lone.hear(DetailsAnswer(1, None, 42, "odd"))
    assert isinstance(answers[0], DistributedServiceFailed)


def test_no_answer_in_time(lone: Lone, answers: list[Any]) -> None:
    lone.session.ask("info", 7, answers.append)
    lone.advance(15_000)
    assert isinstance(answers[0], DistributedServiceFailed)
    lone.hear(DetailsAnswer(1, VALUE))
    assert len(answers) == 1
    assert lone.session.up


def test_no_link_no_answer(answers: list[Any]) -> None:
    lone = Lone(up=False)
    with pytest.raises(DistributedServiceFailed, match="not connected"):
        lone.session.ask("info", 7, answers.append)
    lone.start()
    for _ in range(20):
        lone.session.ask("info", 7, answers.append)
    lone.session.close("unpaired")
    assert len(answers) == 20
    assert "unpaired" in str(answers[0])


def test_an_answer_to_no_question_breaks_the_protocol(lone: Lone) -> None:
    lone.hear(DetailsAnswer(1, VALUE))
    assert lone.told == [("closed", "an answer to no question", True)]


def test_an_answer_before_its_question_breaks_the_protocol(lone: Lone, answers: list[Any]) -> None:
    for _ in range(17):
        lone.session.ask("info", 1, answers.append)
    lone.hear(DetailsAnswer(17, VALUE))
    assert not lone.session.up


def test_questions_wait_for_their_turn(lone: Lone, answers: list[Any]) -> None:
    for number in range(1, 19):
        lone.session.ask("info", number, answers.append)
    assert len(lone.take()) == 16
    lone.hear(DetailsAnswer(3, VALUE))
    assert lone.take() == [Ask(17, "info", 17)]
    lone.advance(15_000)
    assert len(answers) == 18
    lone.session.ask("info", 99, answers.append)
    assert lone.take() == []  # the peer owes sixteen answers still
    lone.hear(DetailsAnswer(1, VALUE))
    assert lone.take() == [Ask(19, "info", 99)]


def test_too_many_wait(lone: Lone, answers: list[Any]) -> None:
    for _ in range(16 + 256):
        lone.session.ask("info", 1, answers.append)
    with pytest.raises(DistributedServiceFailed, match="too many"):
        lone.session.ask("info", 1, answers.append)
    lone.advance(15_000)
    lone.session.ask("info", 1, answers.append)
    assert len(answers) == 16 + 256


def test_a_question_of_the_peers(lone: Lone) -> None:
    lone.hear(Ask(1, "info", 7), Ask(2, "snapshot", 8))
    assert lone.told == [("asked", "info", 7), ("asked", "snapshot", 8)]
    lone.replies[1](MissionNotFound("there is no mission 8"))
    lone.replies[0](VALUE)
    lone.replies[0](VALUE)
    assert lone.take() == [DetailsAnswer(2, None, 16300502, "there is no mission 8"), DetailsAnswer(1, VALUE)]


def test_an_agent_that_does_not_answer_is_answered_for(lone: Lone) -> None:
    lone.hear(Ask(1, "info", 7))
    lone.advance(10_000)
    (answer,) = lone.take()
    assert isinstance(answer, DetailsAnswer)
    assert (answer.value, answer.code) == (None, 16300501)
    lone.replies[0](VALUE)
    assert lone.take() == []


@pytest.mark.parametrize("value", [{"argv": ("as", ["x" * 60_000] * 5)}, {"cpu": ("d", math.nan)}])
def test_an_answer_that_cannot_be_sent_is_an_error(lone: Lone, value: Values) -> None:
    lone.hear(Ask(1, "info", 7))
    lone.replies[0](value)
    (answer,) = lone.take()
    assert isinstance(answer, DetailsAnswer)
    assert (answer.value, answer.code) == (None, 16300501)


def test_a_question_without_permission() -> None:
    lone = Lone(permitted=False)
    lone.hear(Ask(1, "info", 7))
    (answer,) = lone.take()
    assert isinstance(answer, DetailsAnswer)
    assert answer.code == PermissionDenied.code
    assert lone.told == []


def test_an_answer_after_the_end_goes_nowhere(lone: Lone) -> None:
    lone.hear(Ask(1, "info", 7))
    lone.session.close("enough")
    lone.take()
    lone.replies[0](VALUE)
    assert lone.take() == []


@pytest.mark.parametrize("numbers", [list(range(17)), [1, 1]])
def test_too_many_questions_break_the_protocol(lone: Lone, numbers: list[int]) -> None:
    lone.hear(*(Ask(n, "info", 7) for n in numbers))
    assert lone.told[-1] == ("closed", "more questions at once than allowed, or one twice", True)


def test_nothing_piles_up_for_a_peer_that_does_not_read(lone: Lone, answers: list[Any]) -> None:
    lone.hear(SUBSCRIBE)
    lone.take()
    lone.session.can_send(False)
    for number in range(1, 500):
        lone.published.change([mission(number, f"{number}")], [number - 20])
        lone.session.published_changed()
        lone.hear(Ping(number))
        if number < 16:
            lone.hear(Ask(number, "info", 1))
            lone.replies[-1](VALUE)
    lone.session.ask("info", 1, answers.append)
    lone.advance(1000)
    assert lone.take() == []
    lone.session.can_send(True)
    said = lone.take()
    assert [message.kind for message in said] == ["pong", "ask", *["answer"] * 15, "update"]
    assert said[0] == Pong(499)
    (update,) = (message for message in said if isinstance(message, Update))
    assert len(update.rows) == 20
    assert update.prev_seq == 0


def test_a_long_list_ends_even_while_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that have begun are finished; else a slow peer would get first parts for ever."""
    monkeypatch.setattr("missiond.core.sync.publisher._HEAD", 256 * 1024 - 600)
    lone = Lone()
    lone.published.change([mission(number) for number in range(1, 101)], ())
    other = Lone()
    other.session.sync(0, False)

    def one_at_a_time(message: Message) -> None:
        lone.session.can_send(False)
        other.hear(message)

    lone.session._send = one_at_a_time
    lone.hear(*other.take())
    for round_ in range(60):
        lone.published.change([mission(round_ % 100 + 1, f"{round_}")], ())
        lone.session.published_changed()
        lone.advance(50)
        lone.session.can_send(True)
    assert other.view.complete
    for _ in range(20):
        lone.session.can_send(True)
        lone.advance(250)
    assert other.view.seq == lone.published.seq
    assert other.view.rows() == [
        mission(number, f"{number - 1}" if number <= 60 else "x") for number in range(1, 101)
    ]


def test_reading_again_is_a_sign_of_life(lone: Lone) -> None:
    lone.session.can_send(False)
    lone.advance(80_000)
    lone.session.can_send(True)
    lone.advance(30_000)
    assert lone.session.up


def test_not_reading_for_long_ends_it(lone: Lone) -> None:
    lone.session.can_send(False)
    lone.advance(200_000)
    assert lone.told == [("closed", "no word from the peer", False)]


def test_a_reply_within_the_question_is_sent(lone: Lone) -> None:
    """Events may call back at once."""

    def asked(what: str, number: int, reply: Any) -> None:
        reply(DistributedServiceFailed("no"))
        lone.session.published_changed()

    lone.asked = asked  # type: ignore[assignment, method-assign]
    lone.hear(Ask(1, "info", 7))
    assert lone.take() == [DetailsAnswer(1, None, 16300501, "no")]


def test_errors_keep_their_text_short(lone: Lone) -> None:
    lone.hear(Ask(1, "info", 7))
    error: AgentError = DistributedServiceFailed("x" * 5000)
    lone.replies[0](error)
    assert lone.take() == [DetailsAnswer(1, None, 16300501, "x" * 1024)]
