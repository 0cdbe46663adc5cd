# SPDX-License-Identifier: Apache-2.0
"""Hears when this host gets a way into the network: a cable, a radio link, or an address (rtnetlink(7))."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Iterator

from missiond.common.backoff import Backoff

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
_NEW_LINK, _DELETED_LINK, _NEW_ADDRESS, _DELETED_ADDRESS = 16, 17, 20, 21
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_CARRIER = 0x40 | 0x10000
"""IFF_RUNNING and IFF_LOWER_UP (netdevice(7))."""
_NOT_USABLE = 0x40 | 0x08
"""IFA_F_TENTATIVE and IFA_F_DADFAILED: IPv6 still asks, or has found, whether somebody else has it."""
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

_SOON, _QUIET, _LONGEST = 0.1, 60.0, 30.0
_AT_ONCE = 64


class Interfaces:
    """The known links and addresses; the first word about each counts as news."""

    def __init__(self) -> None:
        self._carriers: set[int] = set()
        self._addresses: set[tuple[int, bytes]] = set()

    def take(self, data: bytes) -> bool:
        """Take in one datagram of the kernel's; true where a link came up or an address can be used now."""
        news = False
        for kind, body in _messages(data):
            if kind in (_NEW_LINK, _DELETED_LINK):
                news |= self._link(kind, body)
            elif kind in (_NEW_ADDRESS, _DELETED_ADDRESS):
                news |= self._address(kind, body)
        return news

    def _link(self, kind: int, body: bytes) -> bool:
        family, _, index, flags, _ = _LINK.unpack_from(body)
        if family != socket.AF_UNSPEC:
            return False  # about a bridge, say
        if kind == _DELETED_LINK or flags & _CARRIER != _CARRIER:
            self._carriers.discard(index)
            return False
        new = index not in self._carriers
        self._carriers.add(index)
        return new

    def _address(self, kind: int, body: bytes) -> bool:
        _, _, flags, _, index = _ADDRESS.unpack_from(body)
        found = dict(_attributes(body[_ADDRESS.size :]))
        key = index, found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS, b""))
        if kind == _DELETED_ADDRESS or flags & _NOT_USABLE:
            self._addresses.discard(key)
            return False
        new = key not in self._addresses
        self._addresses.add(key)
        return new


class NetworkChanges:
    """Calls back soon after news, and less and less often after news without end.

    Needs a running loop. Raises OSError where the kernel does not let this process listen.
    """

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self._interfaces = Interfaces()
        self._loop = asyncio.get_running_loop()
        self._pauses = Backoff(_SOON, _LONGEST)
        self._told = -_QUIET
        self._socket = _open()
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Hear nothing any more; more than once does no harm."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._pauses.cancel()

    def _readable(self) -> None:
        news = False
        for _ in range(_AT_ONCE):  # then it is somebody else's turn
            try:
                data, (sender, _) = self._socket.recvfrom(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                news = True  # something was lost
                continue
            if sender == 0:  # the kernel
                news |= self._interfaces.take(data)
        if news and not self._pauses.waiting:
            if self._loop.time() - self._told >= _QUIET:
                self._pauses.reset()
            self._pauses.later(self._tell)

    def _tell(self) -> None:
        self._told = self._loop.time()
        self._callback()


def _open() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    opened = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    try:
        opened.bind((0, _GROUPS))
    except BaseException:
        opened.close()
        raise
    return opened


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut a datagram into messages (netlink(7)): type and body of each."""
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            return
        yield kind, data[place + _HEADER.size : place + length]
        place += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Cut the rest of a message into attributes (rtnetlink(3)): type and value of each."""
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < _ATTRIBUTE.size or place + length > len(data):
            return
        yield kind, data[place + _ATTRIBUTE.size : place + length]
        place += (length + 3) & ~3
