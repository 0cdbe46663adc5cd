# SPDX-License-Identifier: Apache-2.0
"""A service manager that answers nothing, and tells whoever is connected what a test wants."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from missiond.bus.variants import variant
from missiond.bus.wire import message
from missiond.bus.wire.encode import encode

NAME = "org.freedesktop.systemd1"
PATIENCE = 10


class ManagerSocketStandIn:
    """Listens at RUNTIME/systemd/private; one connection."""

    def __init__(self, runtime: Path) -> None:
        (runtime / "systemd").mkdir()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(runtime / "systemd/private"))
        self._socket.listen()
        self._socket.settimeout(PATIENCE)
        self._connection: socket.socket | None = None

    def accept(self) -> None:
        """Take the connection, and whoever it is."""
        self._connection, _ = self._socket.accept()
        self._connection.settimeout(PATIENCE)
        while not self._connection.recv(4096).endswith(b"BEGIN\r\n"):
            pass
        self.send(b"OK 0123456789abcdef0123456789abcdef\r\n")

    def changed(self, path: str, interface: str, **values: str) -> None:
        """PropertiesChanged of a unit."""
        told = {name: variant("s", value) for name, value in values.items()}
        body: tuple[object, ...] = (f"{NAME}.{interface}", told, [])
        self._signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as", body)

    def removed(self, unit: str, path: str) -> None:
        """UnitRemoved."""
        self._signal("/org/freedesktop/systemd1", f"{NAME}.Manager", "UnitRemoved", "so", (unit, path))

    def send(self, data: bytes) -> None:
        """Send it as it is."""
        assert self._connection is not None
        self._connection.sendall(data)

    def close(self) -> None:
        """End."""
        self._socket.close()
        if self._connection is not None:
            self._connection.close()

    def _signal(self, path: str, interface: str, member: str, signature: str, body: Sequence[object]) -> None:
        data = encode(signature, body)
        signal = message.build(
            message.SIGNAL, 1, path=path, interface=interface, member=member, signature=signature, body=data
        )
        self.send(signal)
