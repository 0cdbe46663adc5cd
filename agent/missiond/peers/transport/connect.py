# SPDX-License-Identifier: Apache-2.0
"""Dials: the addresses of a device are tried a little apart, until the device answers at one.

A name stands for all the addresses that it has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any, NamedTuple

from missiond.peers.transport.address import Address
from missiond.peers.transport.certificate import device_id
from missiond.peers.transport.channel import ENDING, SHUTDOWN_SECONDS, Channel, Channels
from missiond.peers.transport.frames import LIMIT
from missiond.peers.transport.sockets import tune

MOST_ADDRESSES = 8
_APART = 0.25
_RESOLVE_SECONDS = 5.0
_CONNECT_SECONDS = 3.0
_AGAIN = (0.0, 0.4, 1.4)
"""When to knock (s): what is lost while a neighbour is looked for the kernel repeats after 1 and 3 s only."""
_HANDSHAKE_SECONDS = 5.0
_HUNG_UP = "hung up during the TLS handshake"


_Place = tuple[socket.AddressFamily, Any]
"""As connect(2) takes it."""


class NotReached(Exception):
    """No answer of the device; `str()` gives the reason for people.

    `impostor` is true where somebody else answered.
    """

    def __init__(self, text: str, *, impostor: bool = False) -> None:
        super().__init__(text)
        self.impostor = impostor


class _Dial(NamedTuple):
    """What all attempts to reach one device have in common."""

    expected: str
    context: ssl.SSLContext
    channels: Channels
    limit: int


async def connect(
    expected: str,
    addresses: Sequence[Address],
    context: ssl.SSLContext,
    channels: Channels,
    limit: int = LIMIT,
) -> Channel:
    """Return a channel, one of `channels`, to the device with the id `expected`; raises NotReached."""
    if not addresses:
        raise NotReached("it has no known address")
    if channels.closed:
        raise NotReached(ENDING)
    dial = _Dial(expected, context, channels, limit)
    attempts = [
        asyncio.ensure_future(_attempt(dial, address, number * _APART))
        for number, address in enumerate(addresses[:MOST_ADDRESSES])
    ]
    return await _first(attempts, channels)


async def _first(attempts: Sequence[asyncio.Future[Channel]], channels: Channels) -> Channel:
    """Return the channel that is there first, and end the others; raises NotReached where all have failed."""
    channels.dialled(attempts)
    pending, left = set(attempts), set(attempts)
    errors: list[NotReached] = []
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if _succeeded(attempt, errors):
                    left.remove(attempt)
                    return attempt.result()
    finally:
        for attempt in left:
            attempt.cancel()
            attempt.add_done_callback(_discard)
    raise next((error for error in errors if error.impostor), errors[0])


def _succeeded(attempt: asyncio.Future[Channel], errors: list[NotReached]) -> bool:
    error = NotReached(ENDING) if attempt.cancelled() else attempt.exception()
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


async def _attempt(dial: _Dial, address: Address, delay: float) -> Channel:
    await asyncio.sleep(delay)
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            places = await _resolve(address)
    except TimeoutError:
        raise NotReached(f"{address}: nobody tells its address") from None
    except (OSError, UnicodeError) as error:
        raise NotReached(f"{address}: {_reason(error)}") from None
    if len(places) == 1:
        return await _try(dial, address, places[0])
    attempts = [
        asyncio.ensure_future(_try(dial, address, place, number * _APART))
        for number, place in enumerate(places)
    ]
    return await _first(attempts, dial.channels)


def _reason(error: Exception) -> str:
    """Say it as strerror(3) does: asyncio has a text of its own in its place."""
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError) or not error.errno:
        return str((isinstance(error, OSError) and error.strerror) or error)
    return os.strerror(error.errno)


async def _try(dial: _Dial, address: Address, place: _Place, delay: float = 0.0) -> Channel:
    await asyncio.sleep(delay)
    try:
        sock = await _open(place, dial.channels)
        try:
            channel = await _shake_hands(sock, dial)
        except BaseException:
            sock.close()  # asyncio may have failed before it took the socket over
            raise
    except ssl.SSLError as error:
        impostor = isinstance(error, ssl.SSLCertVerificationError)
        what = "another device answers" if impostor else f"TLS: {error.reason or 'failed'}"
        raise NotReached(f"{address}: {what}", impostor=impostor) from None
    except (TimeoutError, ConnectionAbortedError):  # the latter is asyncio's, in a handshake
        raise NotReached(f"{address} does not answer") from None
    except OSError as error:
        raise NotReached(f"{address}: {_reason(error) or _HUNG_UP}") from None
    if channel.certificate is None or device_id(channel.certificate) != dial.expected:
        channel.cut_off("not the device that was dialled")
        raise NotReached(f"{address}: another device answers", impostor=True)
    return channel


async def _open(place: _Place, channels: Channels) -> socket.socket:
    """Return a connected socket; raises OSError, TimeoutError among them."""
    knocking = {asyncio.ensure_future(_knock(*place, delay)) for delay in _AGAIN}
    channels.dialled(knocking)
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


async def _shake_hands(sock: socket.socket, dial: _Dial) -> Channel:
    connecting = asyncio.ensure_future(
        asyncio.get_running_loop().create_connection(
            lambda: Channel(dial.channels, dial.limit), sock=sock, ssl=dial.context, server_hostname="",
            ssl_handshake_timeout=_HANDSHAKE_SECONDS, ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
    )  # fmt: skip
    try:
        _, channel = await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # asyncio may not have begun with its transport, which would go on by itself: it ends with its socket
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        await asyncio.wait({connecting})
        if connecting.exception() is None:
            connecting.result()[1].cut_off("no longer wanted")
        await asyncio.sleep(0)  # in which the transport closes it
        raise
    return channel


async def _resolve(address: Address) -> list[_Place]:
    """Turn it into what connect(2) takes: at once for an IP address, by asking for a name."""
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except socket.gaierror:
        # Python would make ASCII of it (RFC 3490), which is for DNS and not for mDNS
        asked: str | bytes = host.encode() if host.rstrip(".").endswith(".local") else host
        found = await asyncio.get_running_loop().getaddrinfo(asked, port, type=socket.SOCK_STREAM)
    places: dict[_Place, None] = {(family, name): None for family, _, _, _, name in found}
    return list(places)[:MOST_ADDRESSES]
