# SPDX-License-Identifier: Apache-2.0
"""A client of the peer unit without manners: any TLS, any certificate, any bytes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from missiond.core.pairing.pairing import commitment
from missiond.peers.make_identity import make, store
from missiond.peers.pairing.proof import Prover
from missiond.peers.transport import identity as identities
from missiond.peers.transport.identity import Identity


def new_identity(directory: Path, name: str, **options: Any) -> Identity:
    """Make one in a directory of its own; options are those of `make`."""
    place = directory / name
    place.mkdir()
    store(place, make(**options))
    return identities.load(place)


def context(identity: Identity | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client's context that takes any server, with the highest TLS version given."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if version is not None:
        made.maximum_version = version
    if identity is not None:
        made.load_cert_chain(identity.file)
    return made


class RawPeer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def frame(self, body: bytes) -> None:
        """Send a frame."""
        self.write(len(body).to_bytes(4, "big") + body)

    def say(self, **message: Any) -> None:
        """Send a message."""
        self.frame(json.dumps(message).encode())

    async def drain(self) -> None:
        """Wait for room."""
        await self._writer.drain()

    async def hear(self) -> dict[str, Any]:
        """Read a message; raises EOFError (or OSError) at the end."""
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        found: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        return found

    async def until(self, kind: str) -> dict[str, Any]:
        """Read until a message of this kind."""
        while (message := await self.hear())["kind"] != kind:
            pass
        return message

    def pause(self) -> None:
        """Take nothing more from TLS, not even a goodbye, and say none."""
        assert isinstance(self._writer.transport, asyncio.ReadTransport)
        self._writer.transport.pause_reading()

    async def cut_off(self) -> list[dict[str, Any]]:
        """Wait until the other side hangs up; what it said before that."""
        said = []
        with contextlib.suppress(EOFError, OSError):
            while True:
                said.append(await self.hear())
        return said

    async def leave(self) -> None:
        """End the connection in order: the other side reads all that was said first."""
        reading = asyncio.ensure_future(self._reader.read())
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        with contextlib.suppress(OSError):
            await reading

    async def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def ask(
        self, identity: Identity, called: bytes, nonce: bytes, *, certificate: bytes = b"", name: str = "raw"
    ) -> dict[str, Any]:
        """Begin a pairing with the host whose certificate is `called`, and prove the key of `identity`.

        Returns the answer to that; `certificate` is shown in place of its own.
        """
        own = certificate or identity.certificate
        prover = Prover(identity, called)
        self.say(
            kind="pair", name=name, certificate=_text(own),
            commitment=_text(commitment(nonce, own, called)), hello=_text(prover.hello),
        )  # fmt: skip
        answer = await self.hear()
        if answer["kind"] != "challenge":
            return answer
        self.say(kind="proof", flight=_text(prover.answer(base64.b64decode(answer["flight"]))))
        return await self.hear()

    def reveal(self, nonce: bytes) -> None:
        """Go on with a pairing."""
        self.say(kind="reveal", nonce=_text(nonce))

    async def greet(self, identity: Identity, **changes: Any) -> None:
        """Say hello, wait for that of the other side, and accept."""
        hello = {
            "kind": "hello", "versions": [1, 1], "device": identity.device_id, "name": "raw",
            "instance": "i", "software": "raw 1",
        }  # fmt: skip
        self.say(**(hello | changes))
        await self.until("hello")
        self.say(kind="accepted", version=1)
        await self.until("accepted")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@asynccontextmanager
async def raw_peer(
    port: int, tls: ssl.SSLContext | None, host: str = "127.0.0.1", local: str = "127.0.0.1"
) -> AsyncIterator[RawPeer]:
    """Connect; without a context, without TLS."""
    reader, writer = await asyncio.open_connection(
        host, port, ssl=tls, local_addr=(local, 0), server_hostname="" if tls is not None else None
    )
    peer = RawPeer(reader, writer)
    try:
        yield peer
    finally:
        await peer.close()
