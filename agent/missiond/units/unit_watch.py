# SPDX-License-Identifier: Apache-2.0
"""The watch on some services of a manager, for as long as somebody listens.

One message for each change: the name of the service; in a second line, where it has failed, with what result
(org.freedesktop.systemd1(5)); in a third one `removed` where the manager has forgotten it since it ran. The
first message on a service says nothing but that changes are told from now on. Whoever listens names further
services, each in a message of its own.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from missiond.bus.variants import unwrap
from missiond.bus.wire import message as wire
from missiond.units.requests import MAX_MESSAGE, is_service
from missiond.units.user_manager import UserManager

PAUSE = 0.05
"""Seconds between two messages; changes in between are told together, and nobody is kept busy."""

TIMEOUT = 5.0
"""Seconds for the manager to answer, and for a listener to take a message."""

MOST = 1000
"""Services of one listener."""

_YEAR = 365 * 86_400_000_000
_UNIT = "/org/freedesktop/systemd1/unit/"
_INTERFACE = "org.freedesktop.systemd1.{}"
_DIGITS = frozenset(b"0123456789")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") | _DIGITS


@dataclass(slots=True)
class _Service:
    name: str
    result: str = ""
    failed: str = ""
    removed: bool = False

    def message(self) -> bytes:
        removed = "removed" if self.removed else ""
        return f"{self.name}\n{self.failed}\n{removed}".encode("ascii", "replace")


class UnitWatch:
    """One listener, and one manager; the sockets of both are the caller's."""

    def __init__(self, listener: socket.socket, manager: UserManager) -> None:
        self._listener = listener
        self._manager = manager
        self._services: dict[str, _Service] = {}
        self._changed: dict[str, _Service] = {}

    def add(self, name: str) -> None:
        """Tell of this service too; raises OSError."""
        if not is_service(name) or len(self._services) >= MOST:
            raise OSError(errno.EINVAL, "not the name of a service, or one too many")
        service = self._services.setdefault(object_path(name), _Service(name))
        self._listener.send(service.message())

    def serve(self) -> None:
        """Return once the listener or the manager is gone; raises OSError."""
        try:
            self._serve()
        except (ConnectionResetError, BrokenPipeError):
            return
        except (wire.WireError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise OSError(errno.EBADMSG, f"the service manager makes no sense: {error!r:.200}") from error

    def _serve(self) -> None:
        poll = select.poll()
        for each in (self._listener, self._manager):
            poll.register(each, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._listener.fileno() in ready:
                name = self._listener.recv(MAX_MESSAGE)
                if not name:
                    return
                self.add(name.decode("ascii", "replace"))
            if self._manager.fileno() in ready:
                for message in self._manager.told():
                    self._hear(message)
                self._tell()

    def _tell(self) -> None:
        for service in self._changed.values():
            self._listener.send(service.message())
        if self._changed:
            self._changed.clear()
            time.sleep(PAUSE)

    def _hear(self, message: wire.Incoming) -> None:
        if message.type != wire.SIGNAL:
            return
        path = message.path or ""
        if message.member == "PropertiesChanged" and path in self._services:
            self._note(self._services[path], message)
        elif message.member == "UnitRemoved" and (path := str(message.body[1])) in self._services:
            self._services[path].removed = True
        else:
            return
        self._changed[path] = self._services[path]

    def _note(self, service: _Service, message: wire.Incoming) -> None:
        """Note a change; the one of the unit's type comes first, and has the result.

        A question about a forgotten service makes the manager know it again as inactive: no news.
        """
        interface, values = message.body[:2]
        values = unwrap(values)
        if interface == _INTERFACE.format("Service"):
            service.result = str(values.get("Result", service.result))[:40]
        elif interface == _INTERFACE.format("Unit"):
            state = values.get("ActiveState", "inactive")
            if state == "failed":
                service.failed = service.result
            elif state != "inactive":
                service.failed, service.removed = "", False


def object_path(unit: str) -> str:
    """Return the object path of a unit, as systemd writes one (sd_bus_path_encode(3))."""
    data = unit.encode()
    return _UNIT + "".join(
        chr(byte) if byte in _PLAIN and (at or byte not in _DIGITS) else f"_{byte:02x}"
        for at, byte in enumerate(data)
    )


def serve(listener: socket.socket, runtime: Path, service: str) -> None:
    """Tell of a service, and of others named later, until either side is gone; raises OSError.

    `runtime` is the directory of the manager's, /run for the system's.
    """
    with UserManager(runtime, TIMEOUT) as manager:
        _outlast()
        watch = UnitWatch(listener, manager)
        watch.add(service)
        watch.serve()


def _outlast() -> None:
    """Be no question that takes too long: RuntimeMaxSec= of the unit is for those (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            manager.send(f"EXTEND_TIMEOUT_USEC={_YEAR}".encode())
