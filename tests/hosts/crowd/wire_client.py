# SPDX-License-Identifier: Apache-2.0
"""A blocking client of the system bus inside a host, for programs that mean no good."""

from __future__ import annotations

import array
import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

from missiond.bus.wire import message as wire
from missiond.bus.wire.encode import Typed, encode

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
TASKS = ("org.missiond.Agent1", "/org/missiond/Agent1", "org.missiond.Agent1.BackgroundTaskManager")
PEER = (*TASKS[:2], "org.freedesktop.DBus.Peer")
DOCUMENT = (*TASKS[:2], "org.freedesktop.DBus.Introspectable")
OBJECTS = (*TASKS[:2], "org.freedesktop.DBus.ObjectManager")
SOCKET = "/run/dbus/system_bus_socket"
Target = tuple[str, str, str]


def options(**values: Any) -> dict[str, Typed]:
    """`a{sv}` of numbers and strings."""
    return {key: Typed("u" if isinstance(value, int) else "s", value) for key, value in values.items()}


class Client:
    """One connection; raises OSError where the bus has no room for it, EOFError where it ends."""

    def __init__(self, *, fds: bool = False, timeout: float = 30.0) -> None:
        self.serial = 0
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(SOCKET)
            extra = b"NEGOTIATE_UNIX_FD\r\n" if fds else b""
            self._socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\n" + extra + b"BEGIN\r\n")
            answer = b""
            while answer.count(b"\r\n") < 2 + fds:
                answer += self._read(4096)
            self._hello()
        except BaseException:
            self._socket.close()
            raise

    def _hello(self) -> None:
        answer = self.call(BUS, "Hello")
        if answer.type == wire.ERROR:
            raise ConnectionRefusedError(answer.error_name)

    def frame(
        self, to: Target, member: str, signature: str = "", body: Sequence[Any] = (), *, flags: int = 0,
        fd_count: int = 0,
    ) -> bytes:  # fmt: skip
        """A call, ready to be sent."""
        self.serial += 1
        return wire.build(
            wire.CALL, self.serial, flags=flags, path=to[1], interface=to[2], member=member,
            destination=to[0], signature=signature, body=encode(signature, body), fd_count=fd_count,
        )  # fmt: skip

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send it."""
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            data = data[self._socket.sendmsg([data], rights) :]
        self._socket.sendall(data)

    def receive(self) -> wire.Incoming:
        """The next message."""
        while True:
            if len(self._buffer) >= wire.FIXED:
                header, body = wire.lengths(self._buffer)
                if len(self._buffer) >= header + body:
                    frame, self._buffer = self._buffer[: header + body], self._buffer[header + body :]
                    return wire.Incoming(frame, header, body)
            self._buffer += self._read(1 << 18)

    def answer(self) -> wire.Incoming:
        """The next answer; signals are passed over."""
        while (message := self.receive()).type not in (wire.RETURN, wire.ERROR):
            pass
        return message

    def call(self, to: Target, member: str, signature: str = "", body: Sequence[Any] = ()) -> wire.Incoming:
        """Call and wait."""
        self.send(self.frame(to, member, signature, body))
        return self.answer()

    def answers(self, count: int) -> Counter[str]:
        """Wait for so many; how often which error ("" for none)."""
        return Counter(outcome(self.answer()) for _ in range(count))

    def close(self) -> None:
        """Vanish."""
        self._socket.close()

    def _read(self, size: int) -> bytes:
        data = self._socket.recv(size)
        if not data:
            raise EOFError
        return data


def outcome(answer: wire.Incoming) -> str:
    """The error's name, "" without one; ours with their code and nothing else."""
    if answer.type != wire.ERROR:
        return ""
    name = (answer.error_name or "").rpartition(".")[2]
    text = str(answer.body[0]) if answer.signature == "s" else ""
    return f"{name} {text.partition(':')[0]}" if "missiond" in (answer.error_name or "") else name
