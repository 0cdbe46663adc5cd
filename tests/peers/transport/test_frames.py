# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.peers.transport.frames import LIMIT, FrameError, FrameReader, frame


@given(st.lists(st.binary(min_size=1, max_size=50)), st.lists(st.integers(1, 20)))
def test_messages_survive_however_they_are_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(frame, messages))
    reader = FrameReader(50)
    found = []
    for cut in cuts:
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    found += reader.feed(stream)
    assert found == messages
    assert not reader.unfinished


@pytest.mark.parametrize("length", [0, 51, 2**31, 2**32 - 1])
def test_a_bad_length_is_refused_before_anything_follows(length: int) -> None:
    with pytest.raises(FrameError):
        FrameReader(50).feed(length.to_bytes(4, "big"))


def test_the_limit_itself_is_allowed() -> None:
    assert FrameReader(50).feed(frame(b"x" * 50)) == [b"x" * 50]


@pytest.mark.parametrize("message", [b"", b"x" * (LIMIT + 1)])
def test_nothing_is_sent_that_nobody_takes(message: bytes) -> None:
    with pytest.raises(ValueError, match="1 to"):
        frame(message)


def test_an_unfinished_message_is_noticed() -> None:
    reader = FrameReader()
    reader.feed(b"\0\0")
    assert reader.unfinished
