# SPDX-License-Identifier: Apache-2.0
"""missiond-helper: the real one's answers, over a socket that can refuse, hang, vanish and come back."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from missiond.helper.processes import Users
from missiond.helper.requests import MAX_MESSAGE, Request, encode, parse
from missiond.helper.service import answer, carrier


class HelperStandIn:
    """Serves the running loop; may touch what this user may, so scores only move above 0."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.heard: list[Request] = []
        """Every request that was read."""
        self.hangs = False
        """Read, but not answered."""
        self.refuses = ""
        """Answered with this errno(3)."""
        self.most: int | None = None
        """How many requests it answers before it vanishes."""
        self.connections = 0
        self._carry_out = carrier(Users(frozenset({0, os.getuid()})))
        self._more = asyncio.Event()
        self._listening: socket.socket | None = None
        self._work: set[asyncio.Task[None]] = set()
        self._open: set[socket.socket] = set()

    def appear(self) -> None:
        """Listen."""
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._listening.bind(str(self.place))
        self._listening.listen(64)
        # As systemd does, for whoever waits for it.
        self.place.touch()
        self._start(self._accept(self._listening))

    def vanish(self, *, leave_file: bool = False) -> None:
        """Listen no more, and drop everybody."""
        for work in self._work:
            work.cancel()
        for connection in self._open:
            connection.close()
        self._open.clear()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if not leave_file:
            self.place.unlink(missing_ok=True)

    async def go_on(self) -> None:
        """Do and answer what was not answered, too late."""
        said = answer(encode(self.heard[-1]), self._carry_out)
        for connection in self._open:
            with suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(connection, said)

    async def drop(self) -> None:
        """Drop everybody, as one that was killed and is started again."""
        for connection in self._open:
            connection.shutdown(socket.SHUT_RDWR)

    async def until_heard(self, times: int) -> None:
        """Wait until it was asked so often in all."""
        while len(self.heard) < times:
            self._more.clear()
            await self._more.wait()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while True:
                connection, _ = await loop.sock_accept(listening)
                self.connections += 1
                self._open.add(connection)
                self._start(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await loop.sock_recv(connection, MAX_MESSAGE + 1):
                if self.most is not None and len(self.heard) >= self.most:
                    self.vanish()
                    return
                self.heard.append(parse(data))
                self._more.set()
                if not self.hangs:
                    said = b"no " + self.refuses.encode() if self.refuses else answer(data, self._carry_out)
                    await loop.sock_sendall(connection, said)
        self._open.discard(connection)
        connection.close()


@contextmanager
def helper(place: Path) -> Iterator[HelperStandIn]:
    """Run one for as long as the block lasts."""
    stand_in = HelperStandIn(place)
    stand_in.appear()
    try:
        yield stand_in
    finally:
        stand_in.vanish()
