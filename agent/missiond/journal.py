# SPDX-License-Identifier: Apache-2.0
"""Structured entries of the journal.

`systemd.journal.send` is not used for it: it sends on a blocking socket, so that a journal which stands
still would hold the service up.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

SOCKET = Path("/run/systemd/journal/socket")


def send(fields: dict[str, str]) -> None:
    """Send one entry with fields of systemd.journal-fields(7).

    Raises OSError where there is no journal, or where it does not take it at once.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendmsg([_field(*each) for each in fields.items()], [], socket.MSG_DONTWAIT, str(SOCKET))


def _field(name: str, value: str) -> bytes:
    """Encode one field in the form for any text: name, newline, length and value (its protocol's page)."""
    data = value.encode(errors="backslashreplace")
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
