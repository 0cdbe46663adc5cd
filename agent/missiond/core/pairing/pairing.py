# SPDX-License-Identifier: Apache-2.0
"""Pairing: two hosts show the same code, and people compare and confirm the codes on both.

The caller first proves that it has the key of its certificate, and commits to a nonce. Then it learns that
of the called, and reveals its own. So nobody between the two can try nonces until both codes are the same: a
guess is right once in a million times. Whoever breaks a run off once it knows the nonce has made one, too.
So there is one nonce for all callers until people have answered, or nobody can wait for that code any more.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from missiond.core.pairing.messages import (
    BUSY,
    CROSSED,
    NONCE,
    OLD,
    REJECTED,
    TIMEOUT,
    Challenge,
    Confirm,
    Pair,
    PairingAnswer,
    PairingMessage,
    Proof,
    Reject,
    Reveal,
)

LIMIT = 120_000
"""Milliseconds for people to answer."""
_GRACE = 10_000
"""Beyond that, for a code to be gone at the other host as well."""
_DOMAIN = b"missiond pairing 1"


class PairingFailed(Exception):
    """The pairing is over; `str()` says why, for people, and `reason` is the other side's word."""

    def __init__(self, text: str, reason: str = "", *, broken: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.broken = broken
        """Whether the other side broke the rules."""


def commitment(nonce: bytes, caller: bytes, called: bytes) -> bytes:
    """Return the commitment of the caller to a nonce; the certificates are DER."""
    return hashlib.sha256(nonce + caller + called).digest()


def verification_code(caller_nonce: bytes, called_nonce: bytes, caller: bytes, called: bytes) -> str:
    """Return the six digits for people to compare, in two groups; the certificates are DER."""
    digest = hashlib.sha256(_DOMAIN + caller_nonce + called_nonce + caller + called).digest()
    number = int.from_bytes(digest[:16], "big") % 1_000_000
    return f"{number // 1000:03d} {number % 1000:03d}"


class Pairing:
    """One pairing on this host: the part common to caller and called."""

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
        """Note the yes of people here; raises PairingFailed before there is a code."""
        if not self.code:
            raise PairingFailed("there is no code to compare yet")
        self.here = True
        return Confirm()

    def received(self, message: PairingMessage) -> PairingMessage | None:
        """Take in a message of the other side and return the answer; raises PairingFailed."""
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


class PairingInitiator(Pairing):
    """The caller, with knowledge of the other side's certificate.

    `hello` and what `prove` makes of the answer to it prove that it has the key of its own; earlier versions
    of the other side ask for no proof.
    """

    def __init__(
        self,
        own: bytes,
        name: str,
        nonce: bytes,
        peer_certificate: bytes,
        hello: bytes = b"",
        prove: Callable[[bytes], bytes] | None = None,
    ) -> None:
        super().__init__(own, name, nonce)
        self.peer_certificate = peer_certificate
        self._hello = hello
        self._prove = prove

    def start(self) -> PairingMessage:
        """Return the first message."""
        promise = commitment(self._nonce, self._own, self.peer_certificate)
        return Pair(self._own, self._name, promise, self._hello)

    def _exchange(self, message: PairingMessage) -> PairingMessage:
        if isinstance(message, Challenge) and self._prove is not None and not self.code:
            prove, self._prove = self._prove, None
            return Proof(prove(message.flight))
        if not isinstance(message, PairingAnswer) or self.code:
            raise self._out_of_turn(message)
        self.peer_name = message.name
        self.code = verification_code(self._nonce, message.nonce, self._own, self.peer_certificate)
        return Reveal(self._nonce)


class PairingResponder(Pairing):
    """The called."""

    def __init__(self, own: bytes, name: str, nonce: bytes) -> None:
        super().__init__(own, name, nonce)
        self._commitment = b""

    def _exchange(self, message: PairingMessage) -> PairingMessage | None:
        if isinstance(message, Pair) and not self._commitment:
            self.peer_name, self.peer_certificate = message.name, message.certificate
            self._commitment = message.commitment
            return PairingAnswer(self._nonce, self._name)
        if isinstance(message, Reveal) and self._commitment and not self.code:
            promised = commitment(message.nonce, self.peer_certificate, self._own)
            if not hmac.compare_digest(promised, self._commitment):
                raise PairingFailed("the other side changed its nonce", broken=True)
            self.code = verification_code(message.nonce, self._nonce, self.peer_certificate, self._own)
            return None
        raise self._out_of_turn(message)


class Turn:
    """The one nonce for callers at a time, of all callers together.

    Times are in ms.
    """

    def __init__(self) -> None:
        self._until: int | None = None

    def taken(self, now: int) -> bool:
        """Return whether a nonce is with a caller and not answered by people."""
        return self._until is not None and now < self._until

    def give(self, now: int) -> None:
        """Note a nonce given to a caller."""
        self._until = now + LIMIT + _GRACE

    def answered(self) -> None:
        """Note the answer of people here."""
        self._until = None


_WORDS = {
    REJECTED: "people on the other side said that the codes differ",
    TIMEOUT: "people on the other side did not answer in time",
    BUSY: "the other side has too many pairings under way; try again in two minutes",
    OLD: "the other side takes pairings of a later version only; upgrade missiond here",
    CROSSED: "the other side has begun a pairing itself",
}
