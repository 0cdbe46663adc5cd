# SPDX-License-Identifier: Apache-2.0
"""News of every forked or executed process, from the kernel's process connector (cn_proc).

Unlike the dynamic linker (exec_watch) it tells also of programs that need none, of those in containers and
of shells that only fork. From Linux 6.6 on everybody may listen, before that CAP_NET_ADMIN; and it answers in
the initial pid and network namespaces alone: elsewhere with an error, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable

_NETLINK_CONNECTOR = 11
_GROUP = _INDEX = 1
"""CN_IDX_PROC, which is the multicast group as well; CN_VAL_PROC is the same."""
_LISTEN, _IGNORE = 1, 2
_NONE, _FORK, _EXEC = 0x0, 0x1, 0x2
_DONE = 3
_SO_ATTACH_FILTER = 26

_NLMSGHDR = struct.Struct("=IHHII")
_CN_MSG = struct.Struct("=IIIIHH")
_WHAT = _NLMSGHDR.size + _CN_MSG.size
"""Where proc_event begins: what u32, cpu u32, time u64, then of a fork pid and tgid of parent and child."""
_DATA = _WHAT + 16
_ACK = _NLMSGHDR.size + 12
_CHILD_PID, _CHILD_TGID = _DATA + 8, _DATA + 12
_BUFFER = 8192
"""Bytes for what was not read yet, some ten events: one is enough to know, and the rest may be lost."""
_MOST = 64


class ProcessEvents:
    """Callbacks after the start of processes; `rest` is seconds without a look after each.

    Raises OSError where the kernel does not let this process listen, or gives no answer.
    """

    def __init__(self, callback: Callable[[], None], rest: float = 0.01) -> None:
        self._callback = callback
        self._rest = rest
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | None = None
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_CONNECTOR)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            _attach_filter(self._socket)
            self._socket.bind((0, _GROUP))
            self._subscribe()
        except BaseException:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Hear nothing any more; more than once does no harm."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            with contextlib.suppress(OSError):  # kernels before 6.6 count listeners and do not see them leave
                self._socket.send(_message(_IGNORE, 0))
            self._socket.close()
        if self._waiting is not None:
            self._waiting.cancel()

    def _subscribe(self) -> None:
        """Ask for events; the kernel answers before it returns, or never."""
        token = int.from_bytes(os.urandom(3), "big")
        self._socket.send(_message(_LISTEN, token))
        for _ in range(_MOST):
            try:
                data = self._socket.recv(4096)
            except BlockingIOError:
                break
            (what,) = struct.unpack_from("=I", data, _WHAT)
            (ack,) = struct.unpack_from("=I", data, _ACK)
            if what == _NONE and ack == token + 1:
                (code,) = struct.unpack_from("=I", data, _DATA)
                if code:
                    raise OSError(code, os.strerror(code))
                return
        raise OSError(errno.ENOMSG, "the process connector gives no answer")

    def _readable(self) -> None:
        """Read nothing for a while, however many start: what comes meanwhile is heard after it, as one."""
        self._loop.remove_reader(self._socket)
        self._waiting = self._loop.call_later(self._rest, self._listen_again)
        self._drain()
        self._callback()

    def _listen_again(self) -> None:
        self._waiting = None
        self._loop.add_reader(self._socket, self._readable)

    def _drain(self) -> None:
        for _ in range(_MOST):
            try:
                self._socket.recv(4096)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # events were lost, of which one would have been enough
                    raise


def _message(operation: int, token: int) -> bytes:
    data = struct.pack("=I", operation)
    content = _CN_MSG.pack(_INDEX, _INDEX, 0, token, len(data), 0) + data
    return _NLMSGHDR.pack(_NLMSGHDR.size + len(content), _DONE, 0, 0, 0) + content


def _attach_filter(listener: socket.socket) -> None:
    """Let the kernel drop all but answers, executed programs and forked processes (threads are none).

    Classic BPF, socket(7), which takes no privilege. It loads numbers as big-endian ones.
    """
    load, equal, equal_x, to_x, give = 0x20, 0x15, 0x1D, 0x07, 0x06
    steps = (
        (load, 0, 0, _WHAT),
        (equal, 6, 0, _swapped(_NONE)),
        (equal, 5, 0, _swapped(_EXEC)),
        (equal, 0, 5, _swapped(_FORK)),
        (load, 0, 0, _CHILD_PID),
        (to_x, 0, 0, 0),
        (load, 0, 0, _CHILD_TGID),
        (equal_x, 0, 1, 0),
        (give, 0, 0, 0xFFFF),
        (give, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    head = struct.pack("HP", len(steps), ctypes.addressof(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)


def _swapped(value: int) -> int:
    return int.from_bytes(struct.pack("=I", value), "big")
