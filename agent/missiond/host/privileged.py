# SPDX-License-Identifier: Apache-2.0
"""The way to missiond-helper, which does what needs privilege."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from missiond.helper.processes import Users
from missiond.helper.requests import MAX_MESSAGE, Request, encode
from missiond.helper.service import answer, carrier

SOCKET = Path("/run/missiond-helper.socket")
TIMEOUT = 10.0
"""Seconds to wait for one answer; the helper may have to be started first."""


class HelperMissing(Exception):
    """The helper can't be reached; the text says why."""


class Helper:
    """One connection, made when it is needed; `stay` keeps it, and so the helper, for the sake of speed."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._turn = asyncio.Lock()
        self.stay = False

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """Ask one after the other; for each the name of an errno(3), or "" where it was done.

        Raises HelperMissing.
        """
        answers = []
        for request in requests:
            # One at a time, so that a thaw does not wait for a thousand changes.
            async with self._turn:
                answers.append(await self._ask_again(encode(request)))
        if not self.stay and not self._turn.locked():
            self._close()
        return answers

    async def prepare(self) -> None:
        """Have the helper run, so that the next question is answered at once; raises HelperMissing."""
        async with self._turn:
            try:
                await asyncio.wait_for(self._connected(), TIMEOUT)
            except (OSError, TimeoutError) as error:
                raise self._missing(error) from None

    def close(self) -> None:
        """Leave it."""
        self.stay = False
        self._close()

    async def _ask_again(self, data: bytes) -> str:
        """Ask, and once more where the helper ended before it answered: doing it twice does no harm."""
        for last in (False, True):
            try:
                answered = await asyncio.wait_for(self._exchange(data), TIMEOUT)
            except (OSError, TimeoutError) as error:
                self._close()
                if last or isinstance(error, TimeoutError):
                    raise self._missing(error) from None
            else:
                return _error_of(answered)
        raise AssertionError("unreachable")

    async def _exchange(self, data: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        connection = await self._connected()
        await loop.sock_sendall(connection, data)
        answer = await loop.sock_recv(connection, MAX_MESSAGE)
        if not answer:
            raise ConnectionResetError("it closed the connection")
        return answer

    async def _connected(self) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connection, os.fspath(self._path))
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        return self._socket

    def _missing(self, error: Exception) -> HelperMissing:
        self._close()
        return HelperMissing(str(error) or "no answer")

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


class OwnRights:
    """In the helper's place where the agent is a user's own: does what that user may do."""

    def __init__(self) -> None:
        self._carry_out = carrier(Users(frozenset({os.getuid()})))

    async def ask(self, requests: Sequence[Request]) -> list[str]:
        """Do one after the other; for each the name of an errno(3), or "" where it was done."""
        return [_error_of(answer(encode(request), self._carry_out)) for request in requests]

    def close(self) -> None:
        """Nothing to leave."""


def _error_of(answered: bytes) -> str:
    word, _, name = answered.decode("ascii", "replace").partition(" ")
    return "" if word == "ok" else name or "EIO"
