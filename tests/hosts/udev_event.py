# SPDX-License-Identifier: Apache-2.0
"""Send a udev event the way udevd does: a netlink message that libudev's monitors cannot tell from its own.

Run inside the host as root, with the action, the subsystem, the path below /sys, and KEY=VALUE properties.
The message is that of libudev's monitor: a header with hashes that receivers filter by, then properties.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

_NETLINK_KOBJECT_UEVENT = 15
_UDEV_GROUP = 2
_WORD = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return MurmurHash2 with seed 0, which libudev's socket filters compare subsystems by."""
    factor = 0x5BD1E995
    value = len(data)
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        part = word * factor & _WORD
        part = (part ^ part >> 24) * factor & _WORD
        value = value * factor & _WORD ^ part
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & _WORD
    value = (value ^ value >> 13) * factor & _WORD
    return value ^ value >> 15


def message(action: str, subsystem: str, path: str, properties: dict[str, str]) -> bytes:
    """Return the datagram for an event of the device at path (below /sys)."""
    fields = {
        "ACTION": action,
        "DEVPATH": path,
        "SUBSYSTEM": subsystem,
        "SEQNUM": str(time.monotonic_ns()),
        **properties,
    }
    body = b"".join(f"{key}={value}".encode() + b"\0" for key, value in fields.items())
    size = 40
    header = b"libudev\0" + struct.pack(">I", 0xFEEDCAFE) + struct.pack("=III", size, size, len(body))
    return header + struct.pack(">IIII", murmur2(subsystem.encode()), 0, 0, 0) + body


def send(datagram: bytes) -> None:
    """Send it to everyone who listens to udev in this network namespace."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT) as link:
        link.sendto(datagram, (0, _UDEV_GROUP))


if __name__ == "__main__":
    action_, subsystem_, path_, *rest_ = sys.argv[1:]
    send(message(action_, subsystem_, path_, dict(item.split("=", 1) for item in rest_)))
