# SPDX-License-Identifier: Apache-2.0
"""Pairing: two hosts show the same code, people compare it, and say so on both.

The caller first commits to a nonce, then learns that of the called, then reveals its own. So nobody between
the two can try nonces until both codes are the same: a guess is right once in a million times, and each
takes a person who is asked.
"""

from __future__ import annotations

import hashlib
import hmac

from missiond.core.pairing_messages import (
    BUSY,
    CROSSED,
    NONCE,
    REJECTED,
    TIMEOUT,
    Answer,
    Confirm,
    Pair,
    PairingMessage,
    Reject,
    Reveal,
)

LIMIT = 120_000
"""Milliseconds that people have."""
_DOMAIN = b"missiond pairing 1"


class PairingFailed(Exception):
    """The pairing is over; `str()` says why, for people, and `reason` is the other side's word."""

    def __init__(self, text: str, reason: str = "", *, broken: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.broken = broken
        """Whether the other side broke the rules."""


def commitment(nonce: bytes, caller: bytes, called: bytes) -> bytes:
    """Return what the caller says of its nonce at first; the certificates are DER."""
    return hashlib.sha256(nonce + caller + called).digest()


def verification_code(caller_nonce: bytes, called_nonce: bytes, caller: bytes, called: bytes) -> str:
    """Return the six digits that people compare, in two groups; the certificates are DER."""
    digest = hashlib.sha256(_DOMAIN + caller_nonce + called_nonce + caller + called).digest()
    number = int.from_bytes(digest[:16], "big") % 1_000_000
    return f"{number // 1000:03d} {number % 1000:03d}"


class Pairing:
    """One pairing as this host sees it: what is the same for caller and called."""

    def __init__(self, own: bytes, name: str, nonce: bytes) -> None:
        if len(nonce) != NONCE:
            raise ValueError(f"a nonce has {NONCE} bytes")
        self._own = own
        self._name = name
        self._nonce = nonce
        self.code = ""
        """For people, once both nonces are known."""
        self.peer_name = ""
        self.peer_certificate = b""
        self.here = False
        """Whether people here have said yes."""
        self.there = False
        """Whether people there have."""

    @property
    def done(self) -> bool:
        """Whether both sides trust each other."""
        return self.here and self.there

    def confirm(self) -> PairingMessage:
        """People here say yes; raises PairingFailed where there is no code yet."""
        if not self.code:
            raise PairingFailed("there is no code to compare yet")
        self.here = True
        return Confirm()

    def received(self, message: PairingMessage) -> PairingMessage | None:
        """Take in what the other side says and return the answer; raises PairingFailed."""
        if isinstance(message, Reject):
            raise PairingFailed(_WORDS.get(message.reason, "the other side ended it"), message.reason)
        if isinstance(message, Confirm) and self.code and not self.there:
            self.there = True
            return None
        return self._exchange(message)

    def _exchange(self, message: PairingMessage) -> PairingMessage | None:
        raise NotImplementedError

    def _out_of_turn(self, message: PairingMessage) -> PairingFailed:
        return PairingFailed(f"the other side said {message.kind!r} out of turn", broken=True)


class Caller(Pairing):
    """The side that dialled, and so knows the other's certificate."""

    def __init__(self, own: bytes, name: str, nonce: bytes, peer_certificate: bytes) -> None:
        super().__init__(own, name, nonce)
        self.peer_certificate = peer_certificate

    def start(self) -> PairingMessage:
        """Return the first message."""
        return Pair(self._own, self._name, commitment(self._nonce, self._own, self.peer_certificate))

    def _exchange(self, message: PairingMessage) -> PairingMessage:
        if not isinstance(message, Answer) or self.code:
            raise self._out_of_turn(message)
        self.peer_name = message.name
        self.code = verification_code(self._nonce, message.nonce, self._own, self.peer_certificate)
        return Reveal(self._nonce)


class Called(Pairing):
    """The side that was dialled."""

    def __init__(self, own: bytes, name: str, nonce: bytes) -> None:
        super().__init__(own, name, nonce)
        self._commitment = b""

    def _exchange(self, message: PairingMessage) -> PairingMessage | None:
        if isinstance(message, Pair) and not self._commitment:
            self.peer_name, self.peer_certificate = message.name, message.certificate
            self._commitment = message.commitment
            return Answer(self._nonce, self._name)
        if isinstance(message, Reveal) and self._commitment and not self.code:
            promised = commitment(message.nonce, self.peer_certificate, self._own)
            if not hmac.compare_digest(promised, self._commitment):
                raise PairingFailed("the other side changed its nonce", broken=True)
            self.code = verification_code(message.nonce, self._nonce, self.peer_certificate, self._own)
            return None
        raise self._out_of_turn(message)


_WORDS = {
    REJECTED: "people on the other side said that the codes differ",
    TIMEOUT: "people on the other side did not answer in time",
    BUSY: "the other side has too many pairings under way; try again later",
    CROSSED: "the other side has begun a pairing itself",
}
