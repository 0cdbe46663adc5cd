# SPDX-License-Identifier: Apache-2.0
"""Sockets of links: how they listen, and how the kernel watches over them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

_IDLE, _INTERVAL, _PROBES = 20, 5, 3
"""Seconds and count of tcp(7): the kernel notices after 35 s that a host vanished from an idle link."""
_UNACKNOWLEDGED = 6000
"""Milliseconds after which a link is lost that takes no data: a partition is known before it heals."""
_BACKLOG = 64


def tune(sock: socket.socket) -> None:
    """Let small messages go at once, and a dead link be found without waking this process."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Listen on these IP addresses, on all of IPv6 and IPv4 where there are none; raises OSError.

    Port 0 takes a free one, the same for all.
    """
    sockets: list[socket.socket] = []
    try:
        for host in hosts or ("::",):
            bound = _listen(host, port, everywhere=not hosts)
            port = bound.getsockname()[1]
            sockets.append(bound)
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _listen(host: str, port: int, *, everywhere: bool) -> socket.socket:
    try:
        return _bound(socket.AF_INET6 if ":" in host else socket.AF_INET, host, port, both=everywhere)
    except OSError:
        if not everywhere:
            raise
        return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 (a host without IPv6)


def _bound(family: socket.AddressFamily, host: str, port: int, *, both: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        [info, *_] = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
        sock.bind(info[4])
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
