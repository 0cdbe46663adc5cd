# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from typing import Any

import pytest

from missiond.core.launch.description import LaunchDescription
from missiond.helper.processes import Users
from missiond.units.requests import MAX_ORDER, Order, encode_order, parse_order, read_order
from missiond.units.units import answer

UNIT = b"app-missiond-x@0123456789abcdef0123456789abcdef.service"
ORDER = Order(LaunchDescription(("/x", "a\nb")), (("state", 5), ("want_param", 0)), "a" * 64)


def memory(data: bytes) -> int:
    fd = os.memfd_create("x")
    os.write(fd, data)
    return fd


def test_there_and_back() -> None:
    assert parse_order(encode_order(ORDER)) == ORDER


@pytest.mark.parametrize(
    "change",
    [
        {"what": {"argv": ["x"]}},
        {"what": {"argv": ["/x"], "environment": ["LD_PRELOAD=/x"]}},
        {"what": None},
        {"files": [["state", 1], ["state", 2]]},
        {"files": [["../x", 1]]},
        {"files": [["state", -1]]},
        {"files": [["state", True]]},
        {"files": [["state", 1 << 41]]},
        {"files": [["state"]]},
        {"files": 1},
        {"origin": "x"},
        {"origin": None},
    ],
)
def test_what_is_no_order(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"order|unpack"):
        parse_order(json.dumps(json.loads(encode_order(ORDER)) | change).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000])
def test_rubbish(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_order(data)


def test_descriptors_are_counted_and_looked_at() -> None:
    order, file, pipe = memory(encode_order(ORDER)), memory(b"x"), os.pipe()
    large = memory(b"")
    os.ftruncate(large, MAX_ORDER + 1)
    assert read_order([order, file, file]) == ORDER
    for fds in ([], [order], [order, file], [order, file, file, file], [pipe[0], file, file], [large]):
        with pytest.raises(ValueError, match=r"order|missing"):
            read_order(fds)
        assert answer(b"start 1000 " + UNIT, Users(), fds) == b"no EINVAL"
    for fd in (order, file, large, *pipe):
        os.close(fd)


def test_only_missions_of_people() -> None:
    order = memory(encode_order(Order(ORDER.what)))
    for question in (
        b"start system " + UNIT,
        b"start 1000 a.service",
        b"check 1000 a.service",
        b"stop system a.service",
    ):
        assert answer(question, Users(), [order]) == b"no EINVAL"
    for question in (b"start 999 " + UNIT, b"check 999 " + UNIT, b"stop 65534 a.service"):
        assert answer(question, Users(), [order]) == b"no EPERM"
    os.close(order)
