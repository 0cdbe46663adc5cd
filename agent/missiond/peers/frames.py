# SPDX-License-Identifier: Apache-2.0
"""Messages on a stream: each is four bytes of length (big-endian), then so many bytes."""

from __future__ import annotations

LIMIT = 1 << 20
"""The longest message of a paired peer, in bytes."""
STRANGER_LIMIT = 8192
"""The longest message of anybody else."""

_HEADER = 4


class FrameError(Exception):
    """What came is no frame; the stream can't be read any further."""


def frame(*parts: bytes | memoryview) -> bytes:
    """Return a message as it goes over the wire; raises ValueError for one that nobody would take."""
    length = sum(map(len, parts))
    if not 0 < length <= LIMIT:
        raise ValueError(f"a message has 1 to {LIMIT} bytes, not {length}")
    return b"".join((length.to_bytes(_HEADER, "big"), *parts))


class FrameReader:
    """Cuts a stream into messages; holds at most one unfinished message of `limit` bytes."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._buffer = bytearray()

    @property
    def unfinished(self) -> bool:
        """Whether a part of a message has come."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take in what has come and return the messages that are complete; raises FrameError.

        A length is judged as soon as it is there, before anything is kept for it.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        position = 0
        while len(buffer) - position >= _HEADER:
            length = int.from_bytes(buffer[position : position + _HEADER], "big")
            if not 0 < length <= self.limit:
                raise FrameError(f"a frame of {length} bytes; 1 to {self.limit} are allowed")
            end = position + _HEADER + length
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                messages.append(view[position + _HEADER : end].tobytes())
            position = end
        del buffer[:position]
        return messages
