# SPDX-License-Identifier: Apache-2.0
"""The client of missiond-helper, for all requests in need of privilege."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from missiond.helper.requests import MAX_MESSAGE, Request, encode

SOCKET = Path("/run/missiond-helper.socket")
TIMEOUT = 10.0
"""Seconds to wait for one answer; the helper may have to be started first."""


class HelperMissing(Exception):
    """The helper can't be reached; the text says why.

    `answers` are those to what it was asked first. `sent`: the question after these may have reached it; what
    comes behind was surely never asked. `hangs`: it is there, but does not answer.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(getattr(error, "strerror", None) or str(error) or "no answer")
        self.answers: list[str] = []
        self.sent = False
        self.hangs = isinstance(error, TimeoutError)


class Helper:
    """One connection, made on demand; `stay` keeps the connection, and so the helper, for speed.

    One that is not answered in time is set aside: `stirred` is called once the helper goes on, or has ended.
    """

    def __init__(self, path: Path = SOCKET) -> None:
        self.path = path
        self._socket: socket.socket | None = None
        self._turn = asyncio.Lock()
        self._sent = False
        self._aside: socket.socket | None = None
        self.stirred: Callable[[], None] = lambda: None
        self.stay = False

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """Send one request after the other; for each the name of an errno(3), or "" where done.

        Raises HelperMissing.
        """
        answers: list[str] = []
        for request in requests:
            # One at a time, so that a thaw does not wait for a thousand changes.
            async with self._turn:
                try:
                    answers.append(await self._ask_again(encode(request)))
                except HelperMissing as missing:
                    missing.answers = answers
                    raise
        self.rest()
        return answers

    async def prepare(self) -> None:
        """Start the helper for an immediate answer to the next request; raises HelperMissing."""
        async with self._turn:
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._connected()
            except (OSError, TimeoutError) as error:
                raise self._missing(error) from None

    def rest(self) -> None:
        """Close the connection for now, unless `stay` is set."""
        if not self.stay and not self._turn.locked():
            self._close()

    def close(self) -> None:
        """Close the connection; pending requests still have to be cancelled."""
        self.stay = False
        self.rest()  # not while the loop looks at the socket
        self._take_back()

    async def _ask_again(self, data: bytes) -> str:
        """Ask, and once more where the helper ended before it answered: doing it twice does no harm."""
        self._sent = False
        for last in (False, True):
            try:
                async with asyncio.timeout(TIMEOUT):
                    answered = await self._exchange(data)
            except asyncio.CancelledError:
                self._close()  # the answer to this is not that to the next question
                raise
            except (OSError, TimeoutError) as error:
                if isinstance(error, TimeoutError) and self._sent:
                    self._set_aside()
                self._close()
                if last or isinstance(error, TimeoutError):
                    raise self._missing(error) from None
            else:
                return error_of(answered)
        raise AssertionError("unreachable")

    async def _exchange(self, data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        connection = await self._connected()
        await loop.sock_sendall(connection, data)
        self._sent = True
        answer = await loop.sock_recv(connection, MAX_MESSAGE)
        if not answer:
            raise ConnectionResetError("it closed the connection")
        self._take_back()
        return answer

    async def _connected(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connection, os.fspath(self.path))
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    def _missing(self, error: Exception) -> HelperMissing:
        self._close()
        missing = HelperMissing(error)
        missing.sent = self._sent
        return missing

    def _set_aside(self) -> None:
        self._take_back()
        self._aside, self._socket = self._socket, None
        if self._aside is not None:
            asyncio.get_running_loop().add_reader(self._aside, self._stirs)

    def _stirs(self) -> None:
        """There is an answer, too late, or the end of whoever was asked."""
        self._take_back()
        self.stirred()

    def _take_back(self) -> None:
        connection, self._aside = self._aside, None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(connection)
            connection.close()

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def error_of(answered: bytes) -> str:
    """Return the name of an errno(3) in an answer of the helper, "" where done."""
    word, _, name = answered.decode("ascii", "replace").partition(" ")
    return "" if word == "ok" else name or "EIO"
