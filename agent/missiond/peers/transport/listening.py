# SPDX-License-Identifier: Apache-2.0
"""Listening sockets: one for each address of Listen=, opened at the first chance.

One that is missing or taken keeps no other from being used, and nothing from being dialled.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from missiond.common.backoff import Backoff
from missiond.peers.timers import Timers
from missiond.peers.transport.address import Address
from missiond.peers.transport.listener import Listener
from missiond.peers.transport.sockets import is_here, listen_on

EVERYWHERE = "::"
_FIRST, _LONGEST = 5_000, 300_000
"""Milliseconds before a socket is asked for again that the kernel refused, at first and after many times."""


class Listening:
    """Opens the sockets of a Listener; `lacks` gets a changed sentence for people, or None.

    An address that this host does not have is listened on beforehand (ip(7), IP_FREEBIND).
    """

    def __init__(
        self,
        hosts: Sequence[str],
        port: int,
        listener: Listener,
        timers: Timers,
        lacks: Callable[[str | None], None],
    ) -> None:
        self._hosts = tuple(dict.fromkeys(hosts)) or (EVERYWHERE,)
        self._everywhere = not hosts
        self._port = port
        self._listener = listener
        self._timers = timers
        self._lacks = lacks
        self._open: set[str] = set()
        self._pauses = Backoff(_FIRST, _LONGEST)
        self._said: str | None = None

    @property
    def port(self) -> int:
        """The port for others to try."""
        return self._listener.port or self._port

    def look(self) -> None:
        """Open missing sockets; the pauses begin anew, as after each change of the network."""
        self._pauses.reset()
        self._look()

    def _look(self) -> None:
        troubles = []
        for host in self._hosts:
            error = self._error(host)
            if error is not None:
                troubles.append(f"{Address(host, self._port)}: {error}")
        missing = [host for host in self._hosts if host not in self._open]
        if missing:
            self._timers.after(self, int(self._pauses.next()), self._look)
        else:
            self._timers.drop(self)
        self._say(troubles)

    def close(self) -> None:
        """Ask for no more sockets."""
        self._timers.drop(self)

    def _error(self, host: str) -> str | None:
        """Listen there unless that is so already; what is wrong with it, None for nothing."""
        try:
            if host not in self._open:
                sock = listen_on(host, self._port, everywhere=self._everywhere)
                self._port = sock.getsockname()[1]
                self._open.add(host)
                self._listener.add(sock)
            if not self._everywhere:
                is_here(host)
        except OSError as error:
            known = not isinstance(error, socket.gaierror) and error.errno
            return os.strerror(error.errno) if known and error.errno else str(error.strerror or error)
        return None

    def _say(self, troubles: list[str]) -> None:
        sentence = None
        if troubles:
            sentence = (
                f"hosts that dial {'; '.join(troubles)} do not reach this one until that can be listened on; "
                "see Listen= and Port= in missiond.conf(5)"
            )
        if sentence != self._said:
            self._said = sentence
            self._lacks(sentence)
