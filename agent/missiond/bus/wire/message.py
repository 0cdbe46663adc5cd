# SPDX-License-Identifier: Apache-2.0
"""Message headers, received and sent (D-Bus specification, "Message Format").

The body of a received message is decoded only when somebody asks for it, so a
message that nobody expects costs next to nothing however large it is.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct, error
from typing import Any

from missiond.bus.library import decode_body
from missiond.common.blocking_io import close_all

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
NO_REPLY_EXPECTED, NO_AUTO_START, ALLOW_INTERACTIVE_AUTHORIZATION = 1, 2, 4

PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE, UNIX_FDS = range(1, 10)
FIXED = 16
"""Bytes before the header fields."""
MAX_OUTGOING = 32 * 1024 * 1024
"""Bytes of the longest message for dbus-daemon; a longer one would end the connection."""

_U32 = {ord("l"): Struct("<I"), ord("B"): Struct(">I")}
_HEAD = {ord("l"): Struct("<III"), ord("B"): Struct(">III")}
_FIXED_OUT = Struct("<cBBBIII")
_ZEROS = [bytes(count) for count in range(8)]
_CACHE_SIZE = 512
_CACHED_LENGTH = 1024
_cache: dict[bytes, tuple[Any, ...]] = {}


class WireError(Exception):
    """A frame other than a D-Bus message."""


class MessageTooLarge(ValueError):
    """A message too large for the bus."""


def lengths(buffer: bytes | bytearray, position: int = 0) -> tuple[int, int]:
    """Return the bytes of header (padded) and of body of the message at `position`; raises WireError."""
    head = _HEAD.get(buffer[position])
    if head is None or buffer[position + 3] != 1:
        raise WireError("not a D-Bus message")
    body, _, fields = head.unpack_from(buffer, position + 4)
    return FIXED + (fields + 7 & ~7), body


class Incoming:
    """One received message; absent header fields are None (`signature`: empty)."""

    __slots__ = (
        "_body", "_frame", "_header", "body_length", "destination", "error_name", "fd_count", "fds", "flags",
        "interface", "member", "path", "reply_serial", "sender", "serial", "signature", "type",
    )  # fmt: skip

    def __init__(self, frame: bytes, header: int, body_length: int) -> None:
        """Take a whole message, or the header alone of a message with the body thrown away."""
        self._frame = frame
        self._header = header
        self._body: list[Any] | None = None
        self.body_length = body_length
        self.type: int = frame[1]
        self.flags: int = frame[2]
        self.serial: int = _U32[frame[0]].unpack_from(frame, 8)[0]
        self.fds: list[int] = []
        (
            _, self.path, self.interface, self.member, self.error_name, self.reply_serial,
            self.destination, self.sender, self.signature, self.fd_count,
        ) = _fields(frame, header)  # fmt: skip

    @property
    def truncated(self) -> bool:
        """Whether the body was too large to be kept."""
        return len(self._frame) < self._header + self.body_length

    @property
    def body(self) -> list[Any]:
        """Arguments; raises WireError where decoding fails."""
        if self._body is None:
            if not self.signature:
                self._body = []
                return self._body
            if self.truncated:
                raise WireError("the body was too large to be kept")
            try:
                self._body = decode_body(self._frame, self._header, self.signature)
            except Exception as problem:
                raise WireError(f"cannot decode ({self.signature}): {problem}") from problem
        return self._body

    @property
    def wants_reply(self) -> bool:
        """Whether the sender waits for an answer."""
        return self.type == CALL and not self.flags & NO_REPLY_EXPECTED

    def take_fds(self) -> list[int]:
        """Hand the received descriptors (close-on-exec) over to the caller."""
        fds, self.fds = self.fds, []
        return fds

    def close_fds(self) -> None:
        """Close the descriptors not taken by anybody."""
        close_all(self.take_fds())


def _fields(frame: bytes, header: int) -> tuple[Any, ...]:
    """Header fields by number; a sender repeats itself, so they are remembered (but not those of replies)."""
    if frame[1] in (RETURN, ERROR) or header > _CACHED_LENGTH:
        return _parse_fields(frame)
    key = frame[:1] + frame[12:header]
    fields = _cache.get(key)
    if fields is None:
        fields = _parse_fields(frame)
        if len(_cache) >= _CACHE_SIZE:
            _cache.clear()
        _cache[key] = fields
    return fields


_FIELD_TYPES = (b"", b"o", b"s", b"s", b"s", b"u", b"s", b"s", b"g", b"u")
"""By number ("Header Fields", D-Bus specification); there is no field 0."""


def _parse_fields(frame: bytes) -> tuple[Any, ...]:
    fields: list[Any] = [None, None, None, None, None, None, None, None, "", 0]
    u32 = _U32[frame[0]]
    end = FIXED + u32.unpack_from(frame, 12)[0]
    position = FIXED
    try:
        while position < end:
            code = frame[position]
            kind = frame[position + 1 : position + 4]
            position += 4
            if kind in (b"\1s\0", b"\1o\0"):
                length = u32.unpack_from(frame, position)[0]
                value: Any = frame[position + 4 : position + 4 + length].decode()
                position += length + 5
            elif kind == b"\1u\0":
                value = u32.unpack_from(frame, position)[0]
                position += 4
            elif kind == b"\1g\0":
                length = frame[position]
                value = frame[position + 1 : position + 1 + length].decode()
                position += length + 2
            else:
                # a field of a later protocol; the fields that matter come before it or not at all
                break
            if code < len(fields):
                if kind[1:2] != _FIELD_TYPES[code]:
                    raise WireError(f"bad header: field {code} is of type {kind[1:2].decode()}")
                fields[code] = value
            position = position + 7 & ~7
    except (ValueError, IndexError, error) as problem:
        raise WireError(f"bad header: {problem}") from problem
    return tuple(fields)


@lru_cache(maxsize=1024)
def _text(code: int, kind: bytes, text: str) -> bytes:
    """One header field, from an 8-byte boundary, without padding after it."""
    raw = text.encode()
    if kind == b"g":
        return bytes((code, 1)) + b"g\0" + bytes((len(raw),)) + raw + b"\0"
    return bytes((code, 1)) + kind + b"\0" + len(raw).to_bytes(4, "little") + raw + b"\0"


def _join(fields: list[bytes]) -> bytes:
    out = bytearray()
    for field in fields:
        out += _ZEROS[-len(out) & 7]
        out += field
    return bytes(out)


@lru_cache(maxsize=512)
def _address(path: str | None, interface: str | None, member: str | None, error: str | None) -> bytes:
    fields = []
    if path is not None:
        fields.append(_text(PATH, b"o", path))
    if interface is not None:
        fields.append(_text(INTERFACE, b"s", interface))
    if member is not None:
        fields.append(_text(MEMBER, b"s", member))
    if error is not None:
        fields.append(_text(ERROR_NAME, b"s", error))
    return _join(fields)


def build(
    kind: int,
    serial: int,
    *,
    flags: int = 0,
    path: str | None = None,
    interface: str | None = None,
    member: str | None = None,
    error_name: str | None = None,
    reply_serial: int = 0,
    destination: str | None = None,
    signature: str = "",
    body: bytes | bytearray = b"",
    fd_count: int = 0,
) -> bytes:
    """One message ready to be sent; `body` is already encoded.  Raises MessageTooLarge beyond 32 MiB."""
    out = bytearray(_address(path, interface, member, error_name)) if path or error_name else bytearray()
    if reply_serial:
        out += _ZEROS[-len(out) & 7]
        out += b"\5\1u\0" + reply_serial.to_bytes(4, "little")
    if destination is not None:
        out += _ZEROS[-len(out) & 7]
        out += _text(DESTINATION, b"s", destination)
    if signature:
        out += _ZEROS[-len(out) & 7]
        out += _text(SIGNATURE, b"g", signature)
    if fd_count:
        out += _ZEROS[-len(out) & 7]
        out += b"\x09\1u\0" + fd_count.to_bytes(4, "little")
    head = _FIXED_OUT.pack(b"l", kind, flags, 1, len(body), serial, len(out))
    if len(out) + len(body) + FIXED > MAX_OUTGOING:
        raise MessageTooLarge(f"a message of {len(body)} bytes is beyond what the bus takes")
    return b"".join((head, out, _ZEROS[-len(out) & 7], body))
