# SPDX-License-Identifier: Apache-2.0
"""Dialling a device: its addresses are tried one after the other, a little apart, until one answers as it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from missiond.peers.address import Address
from missiond.peers.certificate import device_id
from missiond.peers.channel import SHUTDOWN_SECONDS, Channel
from missiond.peers.frames import LIMIT
from missiond.peers.sockets import tune

MOST_ADDRESSES = 8
_APART = 0.25
_RESOLVE_SECONDS = 5.0
_CONNECT_SECONDS = 3.0
_AGAIN = (0.0, 0.4, 1.4)
"""When to knock (s): what is lost while a neighbour is looked for the kernel repeats after 1 and 3 s only."""
_HANDSHAKE_SECONDS = 5.0


class NotReached(Exception):
    """Nobody answered as that device; `str()` says why not, for people.

    `impostor` is true where somebody else answered.
    """

    def __init__(self, text: str, *, impostor: bool = False) -> None:
        super().__init__(text)
        self.impostor = impostor


async def connect(
    expected: str, addresses: Sequence[Address], context: ssl.SSLContext, limit: int = LIMIT
) -> Channel:
    """Return a channel to the device with the id `expected`; raises NotReached."""
    if not addresses:
        raise NotReached("it has no known address")
    pending = {
        asyncio.ensure_future(_attempt(expected, address, context, limit, number * _APART))
        for number, address in enumerate(addresses[:MOST_ADDRESSES])
    }
    errors: list[NotReached] = []
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            found = [attempt.result() for attempt in done if _succeeded(attempt, errors)]
            for late in found[1:]:
                late.cut_off("another address was faster")
            if found:
                return found[0]
    finally:
        for attempt in pending:
            attempt.cancel()
            attempt.add_done_callback(_discard)
    raise next((error for error in errors if error.impostor), errors[0])


def _succeeded(attempt: asyncio.Future[Channel], errors: list[NotReached]) -> bool:
    error = attempt.exception()
    if error is None:
        return True
    if not isinstance(error, NotReached):
        raise error
    errors.append(error)
    return False


def _discard(attempt: asyncio.Future[Channel]) -> None:
    """Close what came too late."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().cut_off("another address was faster")


async def _attempt(
    expected: str, address: Address, context: ssl.SSLContext, limit: int, delay: float
) -> Channel:
    await asyncio.sleep(delay)
    try:
        sock = await _open(address)
        channel = await _shake_hands(sock, context, limit)
    except ssl.SSLError as error:
        impostor = isinstance(error, ssl.SSLCertVerificationError)
        what = "another device answers" if impostor else f"TLS: {error.reason or 'failed'}"
        raise NotReached(f"{address}: {what}", impostor=impostor) from None
    except TimeoutError:
        raise NotReached(f"{address} does not answer") from None
    except OSError as error:
        raise NotReached(f"{address}: {error.strerror or error}") from None
    if channel.certificate is None or device_id(channel.certificate) != expected:
        channel.cut_off("not the device that was dialled")
        raise NotReached(f"{address}: another device answers", impostor=True)
    return channel


async def _open(address: Address) -> socket.socket:
    """Return a connected socket; raises OSError, TimeoutError among them."""
    async with asyncio.timeout(_RESOLVE_SECONDS):
        family, name = await _resolve(address)
    knocking = {asyncio.ensure_future(_knock(family, name, delay)) for delay in _AGAIN}
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            done, knocking = await asyncio.wait(knocking, return_when=asyncio.FIRST_COMPLETED)
        first, *others = sorted(done, key=lambda knock: knock.exception() is not None)
        knocking.update(others)
        return first.result()
    finally:
        for each in knocking:
            each.cancel()
            each.add_done_callback(_leave)


def _leave(knock: asyncio.Future[socket.socket]) -> None:
    """Close what another was faster than."""
    if not knock.cancelled() and knock.exception() is None:
        knock.result().close()


async def _knock(family: socket.AddressFamily, name: Any, delay: float) -> socket.socket:  # noqa: ANN401
    await asyncio.sleep(delay)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        tune(sock)
        await asyncio.get_running_loop().sock_connect(sock, name)
    except BaseException:
        sock.close()
        raise
    return sock


async def _shake_hands(sock: socket.socket, context: ssl.SSLContext, limit: int) -> Channel:
    try:
        _, channel = await asyncio.get_running_loop().create_connection(
            lambda: Channel(limit), sock=sock, ssl=context, server_hostname="",
            ssl_handshake_timeout=_HANDSHAKE_SECONDS, ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )  # fmt: skip
    except asyncio.CancelledError:
        # asyncio may not have begun with its transport, which would then go on by itself
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        raise
    return channel


async def _resolve(address: Address) -> tuple[socket.AddressFamily, Any]:
    """Turn it into what connect(2) takes: at once for an IP address, by asking for a name."""
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, name = found[0]
    return family, name
