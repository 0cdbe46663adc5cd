# SPDX-License-Identifier: Apache-2.0
"""Encodes message bodies (D-Bus specification, "Marshaling").

Not left to the library, which walks through each message twice, to check it and to
write it.  Writers are made once per signature; tuples pass for structs and arrays,
and every value is checked: a wrong body makes the bus daemon drop the connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct, error
from typing import NamedTuple

from missiond.bus.library import Variant
from missiond.bus.wire.signature import SignatureError, Value, split

Writer = Callable[[bytearray, Value], None]

_ZEROS = [bytes(count) for count in range(8)]
_U32 = Struct("<I")
_DOUBLE = Struct("<d")
_MAX_ARRAY = 64 * 1024 * 1024
_PATH = re.compile(r"/|(?:/[A-Za-z0-9_]+)+")
_INTEGERS = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "h": "I"}
_ALIGNED_TO_8 = frozenset("xtd({")


class EncodeError(TypeError):
    """A mismatch of value and signature."""


class Typed(NamedTuple):
    """A value with a signature, taken in place of a Variant; cheaper, and checked at encoding only."""

    signature: str
    value: Value


def encode(signature: str, body: Sequence[Value]) -> bytearray:
    """Encode `body`, one value per complete type, in little-endian order; raises EncodeError."""
    writers = _writers(signature)
    if len(writers) != len(body):
        raise EncodeError(f"({signature}) takes {len(writers)} values, got {len(body)}")
    out = bytearray()
    try:
        for writer, value in zip(writers, body, strict=True):
            writer(out, value)
    except EncodeError:
        raise
    except (error, ValueError, RecursionError) as problem:
        raise EncodeError(f"({signature}): {problem}") from None
    return out


@lru_cache(maxsize=512)
def _writers(signature: str) -> tuple[Writer, ...]:
    try:
        return tuple(_writer(type_) for type_ in split(signature))
    except SignatureError as problem:
        raise EncodeError(str(problem)) from None


@lru_cache(maxsize=512)
def _writer(type_: str) -> Writer:
    code = type_[0]
    if code in _INTEGERS:
        return _integer(code)
    if code == "a":
        return _array(type_[1:])
    if code == "(":
        return _struct(type_)
    return _OTHERS[code]


def _integer(code: str) -> Writer:
    packer = Struct("<" + _INTEGERS[code])
    pack, mask = packer.pack, packer.size - 1

    def write(out: bytearray, value: Value) -> None:
        if not isinstance(value, int) or value is True or value is False:
            raise EncodeError(f"{code} takes an int, got {type(value).__name__}")
        out += _ZEROS[-len(out) & mask]
        out += pack(value)

    return write


def _boolean(out: bytearray, value: Value) -> None:
    if value is not True and value is not False:
        raise EncodeError(f"b takes a bool, got {type(value).__name__}")
    out += _ZEROS[-len(out) & 3]
    out += _U32.pack(value)


def _double(out: bytearray, value: Value) -> None:
    if not isinstance(value, float | int) or value is True or value is False:
        raise EncodeError(f"d takes a float, got {type(value).__name__}")
    out += _ZEROS[-len(out) & 7]
    out += _DOUBLE.pack(value)


def _string(out: bytearray, value: Value) -> None:
    if not isinstance(value, str):
        raise EncodeError(f"s takes a str, got {type(value).__name__}")
    raw = value.encode()
    if b"\0" in raw:
        raise EncodeError("s takes no NUL")
    out += _ZEROS[-len(out) & 3]
    out += _U32.pack(len(raw))
    out += raw
    out.append(0)


def _path(out: bytearray, value: Value) -> None:
    if not isinstance(value, str) or not _PATH.fullmatch(value):
        raise EncodeError("o takes an object path")
    _string(out, value)


def _signature(out: bytearray, value: Value) -> None:
    if not isinstance(value, str):
        raise EncodeError(f"g takes a str, got {type(value).__name__}")
    split(value)
    out.append(len(value))
    out += value.encode("ascii")
    out.append(0)


def _variant(out: bytearray, value: Value) -> None:
    if not isinstance(value, Variant | Typed):
        raise EncodeError(f"v takes a Variant, got {type(value).__name__}")
    writers = _writers(value.signature)
    if len(writers) != 1:
        raise EncodeError("v takes one complete type")
    _signature(out, value.signature)
    writers[0](out, value.value)


_OTHERS: dict[str, Writer] = {
    "b": _boolean,
    "d": _double,
    "s": _string,
    "o": _path,
    "g": _signature,
    "v": _variant,
}


def _struct(type_: str) -> Writer:
    writers = _writers(type_[1:-1])

    def write(out: bytearray, value: Value) -> None:
        if not isinstance(value, list | tuple) or len(value) != len(writers):
            raise EncodeError(f"{type_} takes {len(writers)} values in a list or tuple")
        out += _ZEROS[-len(out) & 7]
        for writer, member in zip(writers, value, strict=True):
            writer(out, member)

    return write


def _array(child: str) -> Writer:
    items = _bytes if child == "y" else _entries(child) if child[0] == "{" else _members(child)
    mask = 7 if child[0] in _ALIGNED_TO_8 else 0

    def write(out: bytearray, value: Value) -> None:
        out += _ZEROS[-len(out) & 3]
        length_at = len(out)
        out += b"\0\0\0\0"
        out += _ZEROS[-len(out) & mask]
        start = len(out)
        items(out, value)
        length = len(out) - start
        if length > _MAX_ARRAY:
            raise EncodeError("an array takes at most 64 MiB")
        _U32.pack_into(out, length_at, length)

    return write


def _bytes(out: bytearray, value: Value) -> None:
    if not isinstance(value, bytes | bytearray):
        raise EncodeError(f"ay takes bytes, got {type(value).__name__}")
    out += value


def _members(child: str) -> Writer:
    writer = _writer(child)

    def write(out: bytearray, value: Value) -> None:
        if not isinstance(value, list | tuple):
            raise EncodeError(f"a{child} takes a list or tuple, got {type(value).__name__}")
        for member in value:
            writer(out, member)

    return write


def _entries(child: str) -> Writer:
    key_type, value_type = split(child[1:-1])
    write_key, write_value = _writer(key_type), _writer(value_type)

    def write(out: bytearray, value: Value) -> None:
        if not isinstance(value, dict):
            raise EncodeError(f"a{child} takes a dict, got {type(value).__name__}")
        for key, member in value.items():
            out += _ZEROS[-len(out) & 7]
            write_key(out, key)
            write_value(out, member)

    return write
