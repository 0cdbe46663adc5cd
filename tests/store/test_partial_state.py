# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest

from missiond.store.handover_state_files import WrongState
from missiond.store.partial_state import StatePart

DATA = os.urandom(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def part() -> Iterator[StatePart]:
    made = StatePart("1" * 32, os.memfd_create("part"))
    yield made
    os.close(made.fd)


def follow(part: StatePart, upto: int) -> None:
    part.follow(os.dup(part.fd), upto)


def test_whatever_was_followed_all_of_it_counts(part: StatePart) -> None:
    """More and less than there is, and nothing new."""
    follow(part, 10)
    for length, told in (
        (1000, 1000),
        (1_500_000, 1_400_000),
        (1_500_000, 1_400_000),
        (2_000_000, 9_999_999),
    ):
        os.pwrite(part.fd, DATA[:length], 0)
        follow(part, told)
    os.pwrite(part.fd, DATA, 0)
    part.check(len(DATA), SHA256)


@pytest.mark.parametrize("followed", [0, 1, len(DATA) - 1])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DATA[:-1], f"{len(DATA) - 1} bytes came of {len(DATA)}"),
        (DATA + b"x", f"{len(DATA) + 1} bytes came of {len(DATA)}"),
        (DATA[:-1] + bytes([DATA[-1] ^ 1]), "checksum"),
        (bytes([DATA[0] ^ 1]) + DATA[1:], "checksum"),
    ],
)
def test_what_is_wrong_is_seen(part: StatePart, data: bytes, why: str, followed: int) -> None:
    os.write(part.fd, data)
    follow(part, followed)
    with pytest.raises(WrongState, match=why):
        part.check(len(DATA), SHA256)
