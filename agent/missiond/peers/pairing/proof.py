# SPDX-License-Identifier: Apache-2.0
"""Proof of a caller's key for a named certificate: a TLS handshake within the connection.

Whoever dials shows no certificate on the connection itself, since the other side knows none to compare it
with. Python's ssl signs nothing else, so both sides hold a second handshake, in messages, in which the caller
shows its certificate and the called its own. That binds the proof to the called: passed on to another host it
is worth nothing there.
"""

from __future__ import annotations

import ssl

from missiond.peers.transport import certificate as certificates
from missiond.peers.transport.identity import Identity


class NotProved(Exception):
    """The other side lacks the key, or is another host; `str()` is safe to log."""


class Prover:
    """The caller's side: `hello` first, then the answer to the challenge."""

    def __init__(self, identity: Identity, called: bytes) -> None:
        """Prepare a proof for the host with the certificate `called` (DER)."""
        context = _context(ssl.PROTOCOL_TLS_CLIENT, identity)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it has to be exactly `called`
        self._called = called
        self._handshake = _Handshake(context, server=False)
        self.hello = self._handshake.step(b"")

    def answer(self, flight: bytes) -> bytes:
        """Return the proof; raises NotProved where another host asks for a proof."""
        last = self._handshake.step(flight)
        if self._handshake.certificate != self._called:
            raise NotProved("the proof is asked for by another host")
        return last


class Doubt:
    """The called side: `flight` asks for the proof of `certificate`, checked by `settle`."""

    def __init__(self, identity: Identity, certificate: bytes, hello: bytes) -> None:
        """Prepare the challenge; raises BadCertificate and NotProved."""
        certificates.check(certificate)
        context = _context(ssl.PROTOCOL_TLS_SERVER, identity)
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0
        context.load_verify_locations(cadata=certificate)
        self._certificate = certificate
        self._handshake = _Handshake(context, server=True)
        self.flight = self._handshake.step(hello)

    def settle(self, flight: bytes) -> None:
        """Check the proof; raises NotProved."""
        self._handshake.step(flight)
        # a certificate that may issue others would let those in as well
        if not self._handshake.done or self._handshake.certificate != self._certificate:
            raise NotProved("it has not shown that it has the key of its certificate")


class _Handshake:
    def __init__(self, context: ssl.SSLContext, *, server: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server)
        self.done = False

    @property
    def certificate(self) -> bytes | None:
        """What the other side has proved to have (DER)."""
        return self._tls.getpeercert(binary_form=True) if self.done else None

    def step(self, flight: bytes) -> bytes:
        """Take in what the other side said, and return what is to be said; raises NotProved."""
        self._incoming.write(flight)
        try:
            self._tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ValueError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else ""
            raise NotProved(f"TLS: {(reason or 'failed').replace('_', ' ').lower()}") from None
        return self._outgoing.read()


def _context(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity.file)
    return context
