# SPDX-License-Identifier: Apache-2.0
"""Messages on a stream: each is four bytes of length (big-endian), then so many bytes."""

from __future__ import annotations

LIMIT = 1 << 20
"""The longest message of a paired peer, in bytes."""
STRANGER_LIMIT = 8192
"""The longest message of anybody else."""

_HEADER = 4


class FrameError(Exception):
    """Bytes without a frame; the stream can't be read any further."""


def frame(*parts: bytes | memoryview) -> bytes:
    """Return a message with the length in front; raises ValueError for a length refused everywhere."""
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
        """Take in bytes and return the complete messages; raises FrameError.

        A length is judged as soon as it is there, before anything is kept for it.
        """
        messages: list[bytes] = []
        view = memoryview(data)
        while view:
            if not self._buffer and len(view) >= _HEADER:
                end = _HEADER + self._length(view)
                if len(view) >= end:  # the whole of it, and nothing to put together
                    messages.append(view[_HEADER:end].tobytes())
                    view = view[end:]
                    continue
            view = self._gather(view, messages)
        return messages

    def _gather(self, view: memoryview, messages: list[bytes]) -> memoryview:
        """Add to the unfinished message what belongs to it, and return what follows."""
        buffer = self._buffer
        if len(buffer) < _HEADER:
            missing = _HEADER - len(buffer)
        else:
            missing = _HEADER + self._length(buffer) - len(buffer)
        buffer += view[:missing]
        if len(buffer) > _HEADER and len(buffer) == _HEADER + self._length(buffer):
            with memoryview(buffer) as whole:
                messages.append(whole[_HEADER:].tobytes())
            buffer.clear()
        elif len(buffer) == _HEADER:
            self._length(buffer)
        return view[missing:]

    def _length(self, buffer: bytearray | memoryview) -> int:
        length = int.from_bytes(buffer[:_HEADER], "big")
        if not 0 < length <= self.limit:
            raise FrameError(f"a frame of {length} bytes; 1 to {self.limit} are allowed")
        return length
