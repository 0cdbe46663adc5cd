# SPDX-License-Identifier: Apache-2.0
"""The server on the socket from systemd (sd_listen_fds(3)), until nobody asks any more."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import struct
from collections.abc import Callable

from missiond.helper import cgroups, processes
from missiond.helper.processes import Users
from missiond.helper.requests import (
    MAX_MESSAGE,
    Adjust,
    Avoid,
    Back,
    Drop,
    Forget,
    Keep,
    Kill,
    Raise,
    Request,
    Signal,
    Thaw,
    parse,
)

IDLE = 10.0
"""Seconds without a connection until the helper ends; the next connection starts another."""

MAX_CONNECTIONS = 8

_CREDENTIALS = struct.Struct("iII")
_LOGGER = logging.getLogger(__name__)


def answer(data: bytes, carry_out: Callable[[Request], None]) -> bytes:
    """Carry out one request and return the answer."""
    try:
        request = parse(data)
    except ValueError as error:
        _LOGGER.warning("refused a message: %s", error)
        return b"no EINVAL"
    try:
        carry_out(request)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "EIO")
        # EACCES is the kernel's, and not for what was asked: the agent says once that it is so on this host.
        if name not in ("ESRCH", "ENOENT", "EAGAIN", "EBUSY", "EEXIST", "EACCES"):
            _LOGGER.warning("refused %s: %s", request.verb, error)
        return b"no " + name.encode()
    return b"ok"


def carrier(users: Users) -> Callable[[Request], None]:
    """Return the function for carrying out requests on this host."""

    def carry_out(request: Request) -> None:
        match request:
            case Adjust():
                processes.adjust(request, users)
            case Raise():
                processes.raise_score(request, users)
            case Signal():
                processes.send(request, users)
            case Thaw():
                cgroups.thaw(request, users)
            case Kill():
                cgroups.kill(request, users)
            case Keep():
                cgroups.keep(request, users)
            case Back():
                cgroups.back(request, users)
            case Drop():
                cgroups.drop(request)
            case Avoid():
                cgroups.avoid(request, users)
            case Forget():
                cgroups.forget(request)

    return carry_out


class HelperServer:
    """The loop of the helper; `peers` are the uids with the right to ask."""

    def __init__(
        self, listening: socket.socket, peers: frozenset[int], carry_out: Callable[[Request], None]
    ) -> None:
        self._listening = listening
        self._peers = peers
        self._carry_out = carry_out
        self._selector = selectors.DefaultSelector()
        self._connections: list[socket.socket] = []

    def run(self, idle: float = IDLE) -> None:
        """Serve until nobody was connected for `idle` seconds."""
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ)
        try:
            while events := self._selector.select(None if self._connections else idle):
                for key, _ in events:
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj is self._listening:
                        self._accept()
                    else:
                        self._serve(key.fileobj)
        finally:
            for connection in list(self._connections):
                self._drop(connection)
            self._selector.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        pid, uid, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if uid not in self._peers:
            _LOGGER.warning("refused process %d of uid %d", pid, uid)
            connection.close()
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._drop(self._connections[0])
        connection.setblocking(False)
        self._connections.append(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _serve(self, connection: socket.socket) -> None:
        if connection not in self._connections:
            return
        try:
            data = connection.recv(MAX_MESSAGE + 1)
            if data:
                connection.send(answer(data, self._carry_out))
                return
        except OSError as error:
            _LOGGER.debug("lost a connection: %s", error)
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection)
        connection.close()
