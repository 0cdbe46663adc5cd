# SPDX-License-Identifier: Apache-2.0
"""Addresses of buses, and authentication there; unix sockets only.

D-Bus specification, "Server Addresses" and "Authentication Protocol".
"""

from __future__ import annotations

import asyncio
import os
import socket

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
_MAX_LINE = 16384
_TIMEOUT = 30.0


class AddressError(ValueError):
    """No usable address."""


def standard_address(*, system: bool) -> str:
    """Return the address of the system or session bus, also from the environment; raises AddressError."""
    if system:
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    if address:
        return address
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime:
        raise AddressError("no session bus: DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR are not set")
    return f"unix:path={runtime}/bus"


def socket_names(address: str) -> list[str]:
    """Socket names to try in order (abstract ones start with NUL); raises AddressError when there is none."""
    names = []
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        if transport != "unix":
            continue
        options = dict(pair.split("=", 1) for pair in rest.split(",") if "=" in pair)
        if "path" in options:
            names.append(_unescaped(options["path"]))
        elif "abstract" in options:
            names.append("\0" + _unescaped(options["abstract"]))
    if not names:
        raise AddressError(f"{address}: no unix:path= or unix:abstract= in it")
    return names


def _unescaped(value: str) -> str:
    if "%" not in value:
        return value
    from urllib.parse import unquote  # noqa: PLC0415  (rarely needed, and large)

    return unquote(value)


class AuthenticationError(ConnectionError):
    """The bus refused us or does not speak the protocol."""


async def connect(address: str, *, fds: bool) -> socket.socket:
    """Return a non-blocking socket ready for messages; raises OSError or AuthenticationError within 30 s.

    `filename` of an OSError is the socket (@ in front of an abstract one).
    """
    failure: Exception | None = None
    for name in socket_names(address):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await asyncio.get_running_loop().sock_connect(sock, name)
                await _handshake(sock, fds=fds)
        except OSError as error:
            # TimeoutError is one of them
            sock.close()
            failure = error
            if error.filename is None:
                error.filename = name.replace("\0", "@")
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or AuthenticationError(f"{address}: nothing to connect to")


async def _handshake(sock: socket.socket, *, fds: bool) -> None:
    """Send all at once, as sd-bus does: the kernel's credentials are the identity, so no uid is named."""
    request = b"\0AUTH EXTERNAL\r\nDATA\r\n" + (b"NEGOTIATE_UNIX_FD\r\n" if fds else b"") + b"BEGIN\r\n"
    await asyncio.get_running_loop().sock_sendall(sock, request)
    lines = await _lines(sock, 3 if fds else 2)
    if lines[0] != b"DATA" or not lines[1].startswith(b"OK "):
        raise AuthenticationError(f"the bus refused us: {b' '.join(lines).decode(errors='replace')[:200]}")
    if fds and lines[2] != b"AGREE_UNIX_FD":
        raise AuthenticationError("the bus passes no file descriptors")


async def _lines(sock: socket.socket, count: int) -> list[bytes]:
    """Read exactly `count` lines; nothing can follow them before we send the first message."""
    received = b""
    while received.count(b"\r\n") < count:
        if received.startswith(b"REJECTED") and b"\r\n" in received:
            break
        chunk = await asyncio.get_running_loop().sock_recv(sock, 1024)
        received += chunk
        if not chunk or len(received) > _MAX_LINE:
            raise AuthenticationError("the bus ended the handshake")
    return (received.split(b"\r\n") + [b""] * count)[:count]
