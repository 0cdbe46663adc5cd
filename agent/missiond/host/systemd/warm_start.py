# SPDX-License-Identifier: Apache-2.0
"""A question to missiond-units that waits for one more word before it is carried out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from missiond.host.systemd.unit_managers import TIMEOUT, ManagersMissing, NotAnswered
from missiond.units.requests import GO, MAX_MESSAGE, READY


class WaitingStart:
    """Ends when missiond-units ends it, which takes no look at the time here."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._went = False
        self._on_end: Callable[[], None] | None = None
        loop = asyncio.get_running_loop()
        self._answer = asyncio.ensure_future(loop.sock_recv(connection, MAX_MESSAGE))
        self._answer.add_done_callback(self._ended)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back once, when it is over without `go`."""
        if self._answer.done() and not self._went:
            callback()
        else:
            self._on_end = callback

    async def go(self) -> bytes | None:
        """Have it carried out; the answer. None where it is over, and was not and will not be carried out.

        Raises NotAnswered where that can't be told.
        """
        if self._answer.done():
            return None
        self._went = True
        try:
            self._connection.send(GO)
        except OSError:
            self.close()
            await asyncio.wait([self._answer])  # which takes a turn of the loop, and closes the connection
            return None
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await self._answer
        except TimeoutError:
            raise NotAnswered("ETIMEDOUT") from None
        except OSError:
            answer = b""
        return answer or b"no ECONNRESET"

    def close(self) -> None:
        """End it."""
        self._on_end = None
        self._answer.cancel()

    def _ended(self, answer: asyncio.Future[bytes]) -> None:
        """Close the connection, which the loop does not look at any more."""
        self._connection.close()
        if not answer.cancelled():
            answer.exception()  # seen
        callback, self._on_end = self._on_end, None
        if callback is not None and not self._went:
            callback()


async def open_waiting(path: Path, data: bytes, fds: Sequence[int]) -> WaitingStart:
    """Ask, and wait until everything is ready; raises ManagersMissing, NotAnswered."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, os.fspath(path))
        except OSError as error:
            raise ManagersMissing(error.strerror or str(error)) from None
        try:
            socket.send_fds(connection, [data], fds)
            async with asyncio.timeout(TIMEOUT):
                answer = await loop.sock_recv(connection, MAX_MESSAGE)
        except TimeoutError:
            raise NotAnswered("ETIMEDOUT") from None
        except OSError:
            answer = b""
        if answer != READY:
            word = answer.decode("utf-8", "replace").partition("\n")[0]
            raise NotAnswered(word.removeprefix("no ") or "ECONNRESET")
        stack.pop_all()
        return WaitingStart(connection)
