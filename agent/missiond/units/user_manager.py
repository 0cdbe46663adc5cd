# SPDX-License-Identifier: Apache-2.0
"""A connection to a service manager on the manager's own socket, without a bus (org.freedesktop.systemd1(5)).

There may be no bus of that user. Everything waits: this is a process for one question.
Whoever is connected in this way is told all signals of the manager, without asking for them.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from missiond.bus.variants import unwrap, variant
from missiond.bus.wire import message as wire
from missiond.bus.wire.encode import encode

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_UNIT_INTERFACE, _SERVICE_INTERFACE = f"{_NAME}.Unit", f"{_NAME}.Service"
_MAX_LINE = 4096
_MAX_FRAME = 1 << 20
NO_SUCH_UNIT = f"{_NAME}.NoSuchUnit"


class ManagerError(OSError):
    """A refusal of the manager; `name` is the D-Bus error, perhaps a System.Error with an errno(3)."""

    def __init__(self, name: str, text: str) -> None:
        said = getattr(errno, name.removeprefix("System.Error."), errno.EREMOTEIO)
        super().__init__(said if name.startswith("System.Error.") else errno.EREMOTEIO, text)
        self.name = name


class UserManager:
    """A connection; every method raises OSError, TimeoutError once `seconds` are over.

    `runtime` is the directory of a user's, /run for the system's (which takes root's alone).
    """

    def __init__(self, runtime: Path, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._serial = 0
        self._received = bytearray()
        self._jobs: dict[str, str] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._wait()
            self._socket.connect(os.fspath(runtime / "systemd/private"))
            self._authenticate()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> UserManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def start_transient(self, unit: str, properties: Sequence[tuple[str, str, object]]) -> str:
        """Start a unit of these properties (name, type, value), and return the job's result."""
        values = [(name, variant(signature, value)) for name, signature, value in properties]
        body: list[object] = [unit, "fail", values, []]
        [job] = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        return self._result(job)

    def stop(self, unit: str) -> str:
        """Stop a unit, and return the job's result, "done" also for a missing one."""
        try:
            [job] = self.call("StopUnit", "ss", (unit, "replace"))
        except ManagerError as error:
            if error.name == NO_SUCH_UNIT:
                return "done"
            raise
        return self._result(job)

    def thaw(self, unit: str) -> str:
        """Thaw a unit, and return the FreezerState= after."""
        self.call("ThawUnit", "s", (unit,))
        [path] = self.call("GetUnit", "s", (unit,))
        body = (_UNIT_INTERFACE, "FreezerState")
        [state] = self.call("Get", "ss", body, path=path, interface=_PROPERTIES)
        return str(unwrap(state))

    def forget_failed(self, unit: str) -> None:
        """Forget the failure of a unit, if there was one."""
        try:
            self.call("ResetFailedUnit", "s", (unit,))
        except ManagerError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    def show(self, unit: str) -> dict[str, Any]:
        """Return the properties of a service; none where not loaded."""
        try:
            [path] = self.call("GetUnit", "s", (unit,))
        except ManagerError as error:
            if error.name == NO_SUCH_UNIT:
                return {}
            raise
        found: dict[str, Any] = {}
        for interface in (_UNIT_INTERFACE, _SERVICE_INTERFACE):
            [values] = self.call("GetAll", "s", (interface,), path=path, interface=_PROPERTIES)
            found |= unwrap(values)
        return found

    def fileno(self) -> int:
        """Return the descriptor, readable after news of the manager."""
        return self._socket.fileno()

    def told(self) -> list[wire.Incoming]:
        """Return the messages received so far, without waiting."""
        self._socket.settimeout(0)
        self._read()
        messages = []
        while (message := self._whole()) is not None:
            messages.append(message)
        return messages

    def call(
        self,
        member: str,
        signature: str,
        body: Sequence[object],
        *,
        path: str = _PATH,
        interface: str = _MANAGER,
    ) -> list[Any]:
        """Call a method, and return the results."""
        self._serial += 1
        serial = self._serial
        data = wire.build(
            wire.CALL, serial, path=path, interface=interface, member=member, destination=_NAME,
            signature=signature, body=encode(signature, body),
        )  # fmt: skip
        self._wait()
        self._socket.sendall(data)
        while True:
            message = self._next()
            if message.reply_serial == serial and message.type == wire.RETURN:
                return message.body
            if message.reply_serial == serial and message.type == wire.ERROR:
                text = str(message.body[0]) if message.body else ""
                raise ManagerError(message.error_name or "", text[:200])

    def _result(self, job: str) -> str:
        while job not in self._jobs:
            self._next()
        return self._jobs[job]

    def _next(self) -> wire.Incoming:
        """Take the next message; what is told of a job is noted."""
        while (message := self._whole()) is None:
            self._receive()
        if message.type == wire.SIGNAL and message.member == "JobRemoved":
            _, job, _, result = message.body
            self._jobs[job] = result
        return message

    def _whole(self) -> wire.Incoming | None:
        """Take the next message out of what was received; None where it is not all there."""
        if len(self._received) < wire.FIXED:
            return None
        header, body = _lengths(self._received)
        if len(self._received) < header + body:
            return None
        message = wire.Incoming(bytes(self._received[: header + body]), header, body)
        del self._received[: header + body]
        return message

    def _authenticate(self) -> None:
        """As the uid that the kernel tells (D-Bus specification, "Authentication Protocol")."""
        identity = str(os.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL " + identity + b"\r\nBEGIN\r\n")
        while b"\r\n" not in self._received:
            if len(self._received) > _MAX_LINE:
                raise OSError(errno.EBADMSG, "the service manager does not speak D-Bus")
            self._receive()
        line, _, rest = bytes(self._received).partition(b"\r\n")
        if not line.startswith(b"OK "):
            raise PermissionError(errno.EACCES, "the service manager refuses us")
        self._received[:] = rest

    def _receive(self) -> None:
        self._wait()
        self._read()

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the service manager closed the connection")
        self._received += data

    def _wait(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "the service manager gives no answer")
        self._socket.settimeout(left)


def _lengths(buffer: bytearray) -> tuple[int, int]:
    try:
        header, body = wire.lengths(buffer)
    except wire.WireError as error:
        raise OSError(errno.EBADMSG, str(error)) from None
    if header + body > _MAX_FRAME:
        raise OSError(errno.EMSGSIZE, "the service manager says too much")
    return header, body
