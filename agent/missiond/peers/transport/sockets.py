# SPDX-License-Identifier: Apache-2.0
"""Sockets of links: listening, and supervision by the kernel."""

from __future__ import annotations

import errno
import socket
from typing import Any

_IDLE, _INTERVAL, _PROBES = 20, 5, 3
"""Seconds and count of tcp(7): the kernel notices after 35 s that a host vanished from an idle link."""
_UNACKNOWLEDGED = 6000
"""Milliseconds after which a link is lost that takes no data: a partition is known before it heals."""
_BACKLOG = 64
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
"""ip(7) and the kernel's in6.h; Python has no names for them."""


def tune(sock: socket.socket) -> None:
    """Let small messages go at once, and a dead link be found without waking this process."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)


def listen_on(host: str, port: int, *, everywhere: bool = False) -> socket.socket:
    """Listen on an IP address of this host, or one still to come; raises OSError.

    `everywhere` is on all of IPv6 and IPv4, or of IPv4 on a host without the other. Port 0 takes a free one.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return _bound(family, host, port, both=everywhere)
    except OSError as error:
        if not everywhere or error.errno == errno.EADDRINUSE:
            raise
        return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 (a host without IPv6)


def is_here(host: str) -> None:
    """Check for an IP address of this host; raises OSError for others."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(_resolved(family, host, 0))


def has(host: str) -> bool:
    """Whether this host has an IP address, or nobody can tell."""
    try:
        is_here(host)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def _bound(family: socket.AddressFamily, host: str, port: int, *, both: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        sock.bind(_resolved(family, host, port))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolved(family: socket.AddressFamily, host: str, port: int) -> Any:  # noqa: ANN401 (of that family)
    [info, *_] = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    return info[4]
