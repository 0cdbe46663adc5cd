# SPDX-License-Identifier: Apache-2.0
"""Addresses of devices: `host:port`, `[IPv6]:port`."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

PORT = 8637
"""Where the peer unit listens unless told otherwise."""
_HOST = re.compile(r"(?!-)[\w-]{1,63}(\.[\w-]{1,63})*\.?")
"""Names of /etc/hosts and NetBIOS have `_`, those of mDNS are UTF-8 (RFC 6762, 16)."""


class Address(NamedTuple):
    """Where a device may answer; `host` is a name or an IP address, IPv6 perhaps with `%interface`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host:port`; raises ValueError with a sentence for people."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        valid = ":" in host and _is_ip(host)
        if valid and "%" not in host and ipaddress.ip_address(host).is_link_local:
            raise ValueError(f"a link-local address needs its interface, as in [{host}%eth0]:{PORT}")
    else:
        valid = ":" not in host and len(host) <= 253 and _HOST.fullmatch(host) is not None
    if not colon or not valid or not port.isascii() or not port.isdecimal() or len(port) > 5:
        raise ValueError("an address is host:port, with an IPv6 address in brackets")
    if not 1 <= int(port) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return Address(host, int(port))


def group(host: str) -> str:
    """Return the origin of connections for limits: an IPv4 address, or 64 bits of an IPv6 one."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return str(address)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
