# SPDX-License-Identifier: Apache-2.0
"""The program in the machine that starts commands (inside/agent.py), as seen from here.

qemu has a guest agent of its own, but that shows what a command says only after its end, and only when asked.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).parent / "inside/agent.py"


class Stream(io.RawIOBase):
    """What a command says; reading waits until there is something, or nothing more will come."""

    def __init__(self) -> None:
        self._data = b""
        self._ended = False
        self._change = threading.Condition()

    def put(self, data: bytes | None) -> None:
        """Add to it; None ends it."""
        with self._change:
            self._data += data or b""
            self._ended = self._ended or data is None
            self._change.notify_all()

    def wait_end(self, deadline: float) -> bytes:
        """Return all of it, once it has ended; TimeoutError after the deadline (time.monotonic)."""
        with self._change:
            if not self._change.wait_for(lambda: self._ended, max(0.0, deadline - time.monotonic())):
                raise TimeoutError
            return self._data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._change:
            self._change.wait_for(lambda: self._data or self._ended)
            size = min(len(buffer), len(self._data))
            buffer[:size] = self._data[:size]
            self._data = self._data[size:]
            return size


class Remote:
    """A command in the machine: `pid` once it has started, `out`, `err`, and `status` once it has ended."""

    def __init__(self) -> None:
        self.out = Stream()
        self.err = Stream()
        self.pid: int | None = None
        self.failed: str | None = None
        self.status: int | None = None
        self._change = threading.Condition()

    def take(self, message: dict[str, Any]) -> None:
        """Note what the machine says of it."""
        for name, stream in (("out", self.out), ("err", self.err)):
            if name in message:
                text = message[name]
                stream.put(None if text is None else text.encode("latin-1"))
        with self._change:
            self.pid = message.get("pid", self.pid)
            self.failed = message.get("failed", self.failed)
            self.status = message.get("exit", self.status)
            self._change.notify_all()

    def wait_start(self, timeout: float) -> int:
        """Return its process id; raises OSError when it can't be started."""
        with self._change:
            if not self._change.wait_for(lambda: self.pid or self.failed, timeout):
                raise TimeoutError("the machine does not answer")
        if self.pid is None:
            raise OSError(self.failed)
        return self.pid

    def wait_exit(self, deadline: float) -> int:
        """Return its exit status; TimeoutError after the deadline (time.monotonic)."""
        with self._change:
            if not self._change.wait_for(
                lambda: self.status is not None, max(0.0, deadline - time.monotonic())
            ):
                raise TimeoutError
        assert self.status is not None
        return self.status


class Guest:
    """The connection to that program, which is sent to the machine first."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._remotes: dict[int, Remote] = {}
        self._sending = threading.Lock()
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        program = _PROGRAM.read_bytes()
        connection.sendall(b"%d\n%s" % (len(program), program))

    def wait_ready(self, timeout: float) -> bool:
        """Wait until commands can be started; whether that came to be."""
        return self._ready.wait(timeout)

    def start(self, argv: list[str], user: str | None, *, stdin: bool) -> tuple[int, Remote]:
        """Start a command as root or that user; return its number for `feed` and the command."""
        number, remote = next(self._numbers), Remote()
        self._remotes[number] = remote
        self._send(id=number, argv=argv, user=user, stdin=stdin)
        return number, remote

    def feed(self, number: int, data: bytes | None) -> None:
        """Write to a command's input; None ends it."""
        self._send(**{"id": number, "in": None if data is None else data.decode("latin-1")})

    def close(self) -> None:
        """Leave the machine."""
        with contextlib.suppress(OSError):  # the machine may have gone first
            self._connection.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=10)
        self._connection.close()

    def _send(self, **message: object) -> None:
        with self._sending:
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        with self._connection.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "ready" in message:
                    self._ready.set()
                elif message["id"] in self._remotes:
                    self._remotes[message["id"]].take(message)
        for remote in list(self._remotes.values()):  # whoever waits for one learns that none will come
            remote.take({"out": None, "err": None, "failed": "the machine has ended", "exit": -1})
