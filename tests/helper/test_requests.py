# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.helper.requests import Adjust, Kill, Request, Signal, Thaw, encode, parse

SCOPE = "user.slice/user-1000.slice/user@1000.service/app.slice/app-x-1.scope"


@pytest.mark.parametrize(
    "request_",
    [Adjust(42, 7, 0, -300), Signal(42, 7, "TERM"), Thaw(9, SCOPE), Kill(9, SCOPE + "/with a space")],
)
def test_there_and_back(request_: Request) -> None:
    assert parse(encode(request_)) == request_


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"adjust",
        b"adjust 42 7 0",
        b"adjust 42 7 0 -300 1",
        b"adjust 42 7  0 -300",
        b"adjust 42 7 0 -901",
        b"adjust 42 7 0 1001",
        b"adjust 42 7 -1001 0",
        b"adjust 42 7 0 -0",
        b"adjust 42 7 0 \xd9\xa1",
        b"adjust 1 7 0 0",
        b"adjust 0 7 0 0",
        b"adjust -1 7 0 0",
        b"adjust 4194305 7 0 0",
        b"signal 0 7 KILL",
        b"signal 1 7 KILL",
        b"signal 42 7 STOP",
        b"signal 42 7 9",
        b"thaw 9 user.slice",
        b"thaw 9 user.slice/user-1000.slice",
        b"thaw 9 system.slice/ssh.service/x",
        b"thaw 9 /user.slice/a/b",
        b"thaw 9 user.slice/../system.slice/ssh.service",
        b"thaw 9 user.slice/a//b",
        b"thaw 9 user.slice/a/b/",
        b"thaw 9 user.slice/a/b\0",
        b"thaw 0 user.slice/a/b",
        b"thaw user.slice/a/b",
        b"kill 9 user.slice/a/./b",
        b"kill 9 user.slice/a/" + b"x" * 256,
        b"kill 9 user.slice/a/" + b"x/" * 3000 + b"y",
        b"freeze 9 user.slice/a/b",
    ],
)
def test_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (any text)
        parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        request = parse(data)
    except ValueError:
        return
    assert encode(request) == data
