# SPDX-License-Identifier: Apache-2.0
"""The DNS-SD record of a device (RFC 6763): id, protocol versions, and port.

None of it is authenticated. It says where to try, and nothing else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from missiond.host.avahi.bus import IPV6

NAME_BYTES = 63
"""A DNS label has no more (RFC 1035)."""
_DEVICE_ID = re.compile(rb"[0-9a-f]{64}")
_TXT_ITEMS = 32


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announcement of this host: `name` is for people, `versions` for example "1" or "1-2"."""

    device_id: str
    name: str
    port: int
    versions: str = "1"

    @property
    def txt(self) -> list[bytes]:
        """The TXT record."""
        return [b"id=" + self.device_id.encode(), b"v=" + self.versions.encode()]

    @property
    def label(self) -> str:
        """Return the name as the instance of a service: no control characters, at most 63 bytes."""
        text = "".join(char for char in self.name if char.isprintable()).strip() or "missiond"
        return text.encode()[:NAME_BYTES].decode(errors="ignore")


Found = Callable[[str, str, Sequence[str], int, str], None]
"""Called with device id, source, addresses, port and announced name of a device, again when one changes.

One device is usually found several times, once for each interface and IP protocol: the source tells these
apart. A device is there until each source was lost, and even then may answer at a known address.
"""
Lost = Callable[[str, str], None]
"""Called with device id and source of an announcement now gone."""


def device_id(txt: Sequence[bytes]) -> str | None:
    """Find the device id in a TXT record; None where there is no valid one. The first one counts."""
    for item in txt[:_TXT_ITEMS]:
        key, equals, value = bytes(item).partition(b"=")
        if equals and key.lower() == b"id":
            return value.decode("ascii") if _DEVICE_ID.fullmatch(value) else None
    return None


def address(text: str, interface: int, protocol: int) -> str | None:
    """Return an address for connecting, a link-local one with the interface; None for rubbish."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if parsed.is_unspecified or parsed.is_multicast or (parsed.version == 6) != (protocol == IPV6):
        return None
    return f"{parsed}%{interface}" if parsed.version == 6 and parsed.is_link_local else str(parsed)
