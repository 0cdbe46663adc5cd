# SPDX-License-Identifier: Apache-2.0
"""Messages between two hosts before there is trust: JSON objects with a `kind`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, ClassVar

from missiond.core import schema
from missiond.core.schema import BadValue, Base64, Later, Length

NONCE = 32
"""Bytes of a nonce and of a commitment."""
NAME = 255
"""Characters of a name."""
Nonce = Annotated[bytes, Base64(NONCE, NONCE)]
Certificate = Annotated[bytes, Base64(1, 4096)]
Flight = Annotated[bytes, Base64(1, 5120)]
"""Part of a handshake, with a certificate of at most 4096 bytes."""
PeerName = Annotated[str, Length(NAME)]


@dataclass(frozen=True, slots=True)
class PairingMessage:
    """A message before there is trust."""

    kind: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class Pair(PairingMessage):
    """Request to pair, with identity and a commitment to a nonce.

    `hello` begins the handshake that proves it (`peers.proof`); versions that do not know it say none.
    """

    certificate: Certificate
    name: PeerName
    commitment: Nonce
    hello: Later[Annotated[bytes, Base64(0, 2048)]] = b""
    kind: ClassVar[str] = "pair"


@dataclass(frozen=True, slots=True)
class Challenge(PairingMessage):
    """Demand for a proof of the certificate's key."""

    flight: Flight
    kind: ClassVar[str] = "challenge"


@dataclass(frozen=True, slots=True)
class Proof(PairingMessage):
    """The proof of the certificate's key."""

    flight: Flight
    kind: ClassVar[str] = "proof"


@dataclass(frozen=True, slots=True)
class PairingAnswer(PairingMessage):
    """The nonce of the called."""

    nonce: Nonce
    name: PeerName
    kind: ClassVar[str] = "nonce"


@dataclass(frozen=True, slots=True)
class Reveal(PairingMessage):
    """The nonce of the caller, after the commitment."""

    nonce: Nonce
    kind: ClassVar[str] = "reveal"


@dataclass(frozen=True, slots=True)
class Confirm(PairingMessage):
    """The yes of people at the sender."""

    kind: ClassVar[str] = "confirm"


@dataclass(frozen=True, slots=True)
class Reject(PairingMessage):
    """The end of a pairing; `reason` is one of the words below."""

    reason: Annotated[str, Length(255)]
    kind: ClassVar[str] = "reject"


@dataclass(frozen=True, slots=True)
class Introduce(PairingMessage):
    """You know my id, this is my certificate."""

    certificate: Certificate
    kind: ClassVar[str] = "introduce"


REJECTED, TIMEOUT, BUSY, CROSSED, OLD = "rejected", "timeout", "busy", "crossed", "old"

_KINDS: dict[str, type[PairingMessage]] = {
    kind.kind: kind for kind in (Pair, Challenge, Proof, PairingAnswer, Reveal, Confirm, Reject, Introduce)
}


def serialise(message: PairingMessage) -> bytes:
    """Return a message as bytes, without a frame."""
    return json.dumps({"kind": message.kind, **schema.dump(message)}, separators=(",", ":")).encode()


def parse(data: bytes) -> PairingMessage:
    """Return the message in the bytes; raises BadValue."""
    found = schema.decode(data)
    kind = _KINDS.get(found["kind"]) if type(found) is dict and type(found.get("kind")) is str else None
    if kind is None:
        raise BadValue("nothing that a stranger may say")
    return schema.load(kind, found)
