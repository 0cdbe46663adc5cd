# SPDX-License-Identifier: Apache-2.0
"""What can come of a call to somebody else."""

from __future__ import annotations

BUS_NAME = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"
DISCONNECTED = "org.freedesktop.DBus.Error.Disconnected"


class RemoteError(Exception):
    """An error reply: `name` is the D-Bus error name, `text` its message (may be empty).

    A lost or closed connection is `org.freedesktop.DBus.Error.Disconnected`. `by_service` is whether somebody
    else than the bus said so: services pass on what they are told themselves, so that its own errors, such as
    NameHasNoOwner, say nothing of a service that answers with them.
    """

    def __init__(self, name: str, text: str = "", *, by_service: bool = False) -> None:
        super().__init__(f"{name}: {text}" if text else name)
        self.name = name
        self.text = text
        self.by_service = by_service


class CallTimeout(Exception):
    """No reply came in time; one that comes later is dropped, with its file descriptors closed."""
