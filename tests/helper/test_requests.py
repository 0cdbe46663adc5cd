# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.helper.requests import (
    Adjust,
    Avoid,
    Back,
    Drop,
    Forget,
    Keep,
    Kill,
    Raise,
    Request,
    Signal,
    Thaw,
    encode,
    parse,
)

SESSION = "user.slice/user-1000.slice/session-c1.scope"
KEPT = "user.slice/user-1000.slice/missiond-keep@1000.service/42-7"
SCOPE = "user.slice/user-1000.slice/user@1000.service/app.slice/app-x-1.scope"


@pytest.mark.parametrize(
    "request_",
    [
        Adjust(42, 7, 0, -300),
        Raise(42, 7, -1000),
        Signal(42, 7, "TERM"),
        Thaw(9, SCOPE),
        Kill(9, SCOPE + "/with a space.service"),
        Keep(42, 7, "42-7"),
        Back(42, 7, 9, SESSION),
        Drop(9, KEPT),
        Avoid(42, 7, 9),
        Forget(9, SCOPE),
        Forget(9, "system.slice/backup.service"),
    ],
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
        b"raise 42 7",
        b"raise 42 7 0 0",
        b"raise 42 7 -1001",
        b"raise 42 7 1001",
        b"raise 1 7 0",
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
        b"thaw 9 user.slice/user-0.slice/session-1.scope",
        b"thaw 9 user.slice/other.slice/a.scope",
        b"kill 9 user.slice/user-0.slice/user@0.service/app.slice/a.scope",
        b"kill 9 user.slice/user-1000.slice/session-3.scope",
        b"kill 9 user.slice/user-1000.slice/a.scope",
        b"kill 9 user.slice/user-1000.slice/user@1000.service",
        b"kill 9 user.slice/user-1000.slice/user@1000.service/init.scope",
        b"kill 9 user.slice/user-1000.slice/user@1000.service/init.scope/a.scope",
        b"kill 9 user.slice/user-1000.slice/user@1001.service/app.slice/a.scope",
        b"kill 9 user.slice/user-1000.slice/user@1000.service/app.slice",
        b"kill 9 user.slice/user-1000.slice/missiond-keep@1000.service",
        b"kill 9 user.slice/a/./b",
        b"kill 9 user.slice/a/" + b"x" * 256,
        b"kill 9 user.slice/a/" + b"x/" * 3000 + b"y",
        b"freeze 9 user.slice/a/b",
        b"keep 42 7 ..",
        b"keep 42 7 a/b",
        b"keep 42 7 42-7 x",
        b"keep 42 7 cgroup.procs",
        b"keep 1 7 42-7",
        b"back 42 7 9 user.slice/user-1000.slice/app.scope",
        b"back 42 7 9 user.slice/user-1000.slice/session-1.scope/x",
        b"back 42 7 9 user.slice/user-1000.slice/user@1000.service",
        b"back 42 7 9 system.slice/session-1.scope",
        b"back 42 7 user.slice/user-1000.slice/session-1.scope",
        b"drop 9 user.slice/user-1000.slice/missiond-keep@1000.service",
        b"drop 9 user.slice/user-1000.slice/missiond-keep@1001.service/42-7",
        b"drop 9 user.slice/user-1000.slice/missiond-keep@1000.service/42-7/x",
        b"drop 9 user.slice/user-1000.slice/session-1.scope",
        b"avoid 42 7 0",
        b"avoid 42 7 9 9",
        b"forget 9 init.scope",
        b"forget 9 system.slice",
        b"forget 9 user.slice/user-1000.slice/user@1000.service",
        b"forget 9 user.slice/user-1000.slice/user@1000.service/init.scope",
        b"forget 9 system.slice/../user.slice/a.service",
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
