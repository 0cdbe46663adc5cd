# SPDX-License-Identifier: Apache-2.0
"""Pieces of state as bytes: a zero, as in no JSON, the number of the request, the offset, the data."""

from __future__ import annotations

from struct import Struct

from missiond.core.link.checks import BadMessage
from missiond.core.link.letters import Chunk
from missiond.core.link.timeouts import MAX_CHUNK
from missiond.core.schema import I63

MARK = b"\0"
_HEAD = Struct(">cIQ")


def head(chunk: Chunk) -> bytes:
    """Return the bytes in front of the data."""
    return _HEAD.pack(MARK, chunk.n, chunk.offset)


def serialise(chunk: Chunk) -> bytes:
    """Return a piece as bytes, without a frame."""
    return b"".join((head(chunk), chunk.data))


def parse(message: bytes) -> Chunk:
    """Return the piece in bytes with `MARK` in front; raises BadMessage."""
    length = len(message) - _HEAD.size
    if not 0 < length <= MAX_CHUNK:
        raise BadMessage(f"a piece of state has 1 to {MAX_CHUNK} bytes")
    _, n, offset = _HEAD.unpack_from(message)
    if offset > I63 - MAX_CHUNK:
        raise BadMessage("a piece of state beyond all files")
    return Chunk(n, offset, memoryview(message)[_HEAD.size :])
