# SPDX-License-Identifier: Apache-2.0
"""TLS of links: 1.3 only, certificates pinned, no session beyond the end of a trust."""

from __future__ import annotations

import asyncio.sslproto
import ssl
from collections.abc import Callable, Iterable

from missiond.peers.transport.identity import Identity

# asyncio gives each connection a buffer of this size; its 256 KiB would be most of what a peer costs.
asyncio.sslproto.SSLProtocol.max_size = 16384


class Contexts:
    """The TLS contexts; one of each kind, as each costs as much memory as a connection.

    `certificates` gives those (DER) that are trusted now.
    """

    def __init__(self, identity: Identity, certificates: Callable[[], Iterable[bytes]]) -> None:
        self._identity = identity
        self._certificates = certificates
        self._server: ssl.SSLContext | None = None
        self._client: ssl.SSLContext | None = None
        self.stranger = _context(ssl.PROTOCOL_TLS_CLIENT)
        """Dials without showing a certificate, and takes any: whoever dials has to look at it."""
        self.stranger.check_hostname = False
        self.stranger.verify_mode = ssl.CERT_NONE

    @property
    def server(self) -> ssl.SSLContext:
        """Serves incoming connections.

        A client that shows a certificate must show a trusted one, valid now. One that shows none gets a
        channel too, but as a stranger.
        """
        if self._server is None:
            self._server = self._trusting(ssl.PROTOCOL_TLS_SERVER)
            self._server.verify_mode = ssl.CERT_OPTIONAL
            self._server.num_tickets = 0
        return self._server

    @property
    def client(self) -> ssl.SSLContext:
        """The context for dialling peers: with others the handshake fails, before this host is named.

        Whoever dials has to look which one.
        """
        if self._client is None:
            self._client = self._trusting(ssl.PROTOCOL_TLS_CLIENT)
            self._client.check_hostname = False
        return self._client

    def trust(self, certificate: bytes) -> None:
        """Trust one more (DER) from the next connection on."""
        for context in (self._server, self._client):
            if context is not None:
                context.load_verify_locations(cadata=certificate)

    def reset(self) -> None:
        """Make new contexts with the present trust only: nothing can be taken out of a context."""
        self._server = self._client = None

    def _trusting(self, protocol: int) -> ssl.SSLContext:
        context = _context(protocol)
        context.load_cert_chain(self._identity.file)
        for certificate in self._certificates():
            context.load_verify_locations(cadata=certificate)
        return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
