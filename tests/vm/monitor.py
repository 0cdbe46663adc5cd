# SPDX-License-Identifier: Apache-2.0
"""The monitor of qemu: commands and events, as JSON (qemu-qmp-ref(7))."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any


class Monitor:
    """A connection to it.  Events are kept until somebody waits for them."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(30)
        try:
            self._socket.connect(str(path))
            self._lines = self._socket.makefile("rb")
            self._events: list[str] = []
            self._next()  # its greeting
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def execute(self, command: str) -> Any:
        """Run a command without arguments and return what it returns."""
        self._socket.settimeout(30)
        self._socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            message = self._next()
            if "error" in message:
                raise RuntimeError(f"{command}: {message['error']}")
            if "return" in message:
                return message["return"]

    def status(self) -> str:
        """Return "running", "suspended", …."""
        return str(self.execute("query-status")["status"])

    def forget(self) -> None:
        """Drop the events so far."""
        self.execute("query-status")
        self._events.clear()

    def wait_event(self, name: str, timeout: float) -> None:
        """Wait for an event, also one that came before; TimeoutError when it does not come."""
        deadline = time.monotonic() + timeout
        while name not in self._events:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            self._next()
        self._events.remove(name)

    def close(self) -> None:
        """Leave it."""
        with contextlib.suppress(OSError):
            self._lines.close()
        self._socket.close()

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError("qemu has ended")
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self._events.append(message["event"])
        return message
