# SPDX-License-Identifier: Apache-2.0
"""What two hosts say to each other before they trust each other: JSON objects with a `kind`."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar

NONCE = 32
"""Bytes of a nonce and of a commitment."""
NAME = 255
"""Characters of a name."""
_CERTIFICATE = 4096
_HELLO, _FLIGHT = 2048, 5120
"""What a handshake says; its certificates are of at most 4096 bytes."""
_REASON = 255


class BadPairingMessage(ValueError):
    """The other side said what no well-made peer says; `str()` is safe to log."""


@dataclass(frozen=True, slots=True)
class PairingMessage:
    """Something that is said before there is trust."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Pair(PairingMessage):
    """Let us pair; this is who I am, and I have chosen my nonce.

    `hello` begins the handshake that proves it (`peers.proof`); versions that do not know it say none.
    """

    certificate: bytes
    name: str
    commitment: bytes
    hello: bytes = b""
    kind: ClassVar[str] = "pair"


@dataclass(frozen=True, slots=True)
class Challenge(PairingMessage):
    """Prove that you have the key of that certificate."""

    flight: bytes
    kind: ClassVar[str] = "challenge"


@dataclass(frozen=True, slots=True)
class Proof(PairingMessage):
    """Here it is proved."""

    flight: bytes
    kind: ClassVar[str] = "proof"


@dataclass(frozen=True, slots=True)
class PairingAnswer(PairingMessage):
    """Here is mine."""

    nonce: bytes
    name: str
    kind: ClassVar[str] = "nonce"


@dataclass(frozen=True, slots=True)
class Reveal(PairingMessage):
    """And this was the one that I had chosen."""

    nonce: bytes
    kind: ClassVar[str] = "reveal"


@dataclass(frozen=True, slots=True)
class Confirm(PairingMessage):
    """People here say that the codes are the same."""

    kind: ClassVar[str] = "confirm"


@dataclass(frozen=True, slots=True)
class Reject(PairingMessage):
    """It is not to be; `reason` is one of the words below."""

    reason: str
    kind: ClassVar[str] = "reject"


@dataclass(frozen=True, slots=True)
class Introduce(PairingMessage):
    """You know my id, this is my certificate."""

    certificate: bytes
    kind: ClassVar[str] = "introduce"


REJECTED, TIMEOUT, BUSY, CROSSED, OLD = "rejected", "timeout", "busy", "crossed", "old"

_KINDS: dict[str, type[PairingMessage]] = {
    kind.kind: kind for kind in (Pair, Challenge, Proof, PairingAnswer, Reveal, Confirm, Reject, Introduce)
}
_BYTES = {
    "certificate": (1, _CERTIFICATE),
    "commitment": (NONCE, NONCE),
    "nonce": (NONCE, NONCE),
    "hello": (0, _HELLO),
    "flight": (1, _FLIGHT),
}
_LATER = {"hello": ""}
"""What earlier versions leave out, and what that means."""
_TEXTS = {"name": NAME, "reason": _REASON}


def serialise(message: PairingMessage) -> bytes:
    """Return a message as bytes, without a frame."""
    found: dict[str, str] = {"kind": message.kind}
    for field in fields(message):
        value = getattr(message, field.name)
        found[field.name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return json.dumps(found, separators=(",", ":")).encode()


def parse(data: bytes) -> PairingMessage:
    """Return what the bytes say; raises BadPairingMessage."""
    try:
        found = json.loads(data.decode())
    except RecursionError:
        raise BadPairingMessage("nested too deeply") from None
    except ValueError:
        raise BadPairingMessage("not JSON") from None
    kind = _KINDS.get(found["kind"]) if type(found) is dict and type(found.get("kind")) is str else None
    if kind is None:
        raise BadPairingMessage("nothing that a stranger may say")
    return kind(
        **{
            field.name: _field(field.name, found.get(field.name, _LATER.get(field.name)))
            for field in fields(kind)
        }
    )


def _field(name: str, value: Any) -> bytes | str:  # noqa: ANN401 (whatever JSON holds)
    if type(value) is not str:
        raise BadPairingMessage(f"{name} is not text")
    if name in _TEXTS:
        if len(value) > _TEXTS[name] or "\0" in value or not _encodable(value):
            raise BadPairingMessage(f"{name} is too long or not valid text")
        return value
    least, most = _BYTES[name]
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadPairingMessage(f"{name} is not base64") from None
    if not least <= len(decoded) <= most:
        raise BadPairingMessage(f"{name} has a wrong length")
    return decoded


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
