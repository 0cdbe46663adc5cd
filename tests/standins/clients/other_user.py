# SPDX-License-Identifier: Apache-2.0
"""Connections to a bus that are another process's, and where the tests are run by root another user's."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from missiond.bus.wire.address import socket_names
from standins.clients.agent_client import AgentClient
from standins.clients.raw_client import RawClient

NOBODY = 65534
UID = NOBODY if os.getuid() == 0 else os.getuid()
"""Of `other_user`; never 0."""

# The kernel takes the credentials of whoever connects, so a child connects and hands the socket over.
_CHILD = """\
import array, os, socket, sys
bus = socket.socket(socket.AF_UNIX)
bus.connect(sys.argv[1])
bus.sendall(b"\\0AUTH EXTERNAL\\r\\nDATA\\r\\nBEGIN\\r\\n")
answer = b""
while answer.count(b"\\r\\n") < 2:
    answer += bus.recv(1024)
parent = socket.socket(fileno=0)
parent.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [bus.fileno()]))])
bus.close()
parent.recv(1)
"""


class OtherProcess:
    """The child; it waits until it is ended."""

    def __init__(self, address: str, uid: int) -> None:
        [name] = socket_names(address)
        self._ours, theirs = socket.socketpair()
        with theirs:
            other = None if uid == os.getuid() else uid
            groups: list[int] | None = None if other is None else []
            command: list[str | bytes] = [sys.executable, "-ISc", _CHILD, name]
            self._child: subprocess.Popen[bytes] = subprocess.Popen(
                command, stdin=theirs.fileno(), user=other, group=other, extra_groups=groups
            )

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def socket(self) -> socket.socket:
        """Its connection to the bus, authenticated."""
        _, fds, _, _ = socket.recv_fds(self._ours, 1, 1)
        [fd] = array.array("i", fds)
        bus = socket.socket(fileno=fd)
        bus.setblocking(False)
        return bus

    def end(self) -> None:
        """Kill it, and see it gone."""
        self._child.kill()
        self._child.wait()
        self._ours.close()


@asynccontextmanager
async def other_process(address: str, uid: int = UID) -> AsyncIterator[tuple[AgentClient, OtherProcess]]:
    """A client that is another process, of this user (by default never root)."""
    child = OtherProcess(address, uid)
    try:
        raw = RawClient(child.socket())
        try:
            hello = raw.frame(
                "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", destination="org.freedesktop.DBus"
            )
            raw.name = (await raw.ask(hello)).body[0]
            yield AgentClient(raw, child.pid), child
        finally:
            raw.close()
    finally:
        child.end()


@asynccontextmanager
async def other_user(address: str) -> AsyncIterator[AgentClient]:
    """A client without privileges."""
    async with other_process(address) as (client, _):
        yield client
