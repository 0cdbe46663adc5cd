# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.units.requests import Question, encode, parse


@pytest.mark.parametrize(
    "question",
    [
        Question("show", None, "ssh.service"),
        Question("keep", 1000, "app-org.example.App@1.service"),
        Question("unkeep", 4294967294, r"app-a\x2db-1.service"),
        Question("thaw", 1000, "app-x-1.scope"),
        Question("thaw", 1000, "app.slice"),
        Question("thaw", None, "session-3.scope"),
        Question("thaw", None, "user@1000.service"),
    ],
)
def test_there_and_back(question: Question) -> None:
    assert parse(encode(question)) == question


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"show",
        b"show system",
        b"show system ssh.service ",
        b"show  system ssh.service",
        b"stop system ssh.service",
        b"show 0 a.service",
        b"show -1 a.service",
        b"show 01 a.service",
        b"show 4294967295 a.service",
        b"show \xd9\xa1 a.service",
        b"show system a.scope",
        b"show system a.socket",
        b"show system .service",
        b"show system -a.service",
        b"show system *.service",
        b"show system a?.service",
        b"show system [a].service",
        b"show system ../a.service",
        b"show system a/b.service",
        b"show system a.service\n",
        b"show system a.service\0",
        b"show system a b.service",
        b"keep system user@1000.service",
        b"thaw system user.slice",
        b"thaw system user-1000.slice",
        b"thaw system system.slice",
        b"thaw system -.slice",
        b"thaw 1000 init.scope",
        b"thaw 1000 a.socket",
        b"thaw 1000 *.scope",
        b"show system " + b"a" * 248 + b".service",
        b"show system \xe9.service",
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any text)
        parse(data)


def test_what_could_not_be_parsed_can_not_be_asked() -> None:
    with pytest.raises(ValueError, match="no such question"):
        encode(Question("show", 0, "a.service"))


@given(st.binary(max_size=100))
def test_any_bytes_are_a_question_or_refused(data: bytes) -> None:
    try:
        question = parse(data)
    except ValueError:
        return
    assert encode(question) == data
