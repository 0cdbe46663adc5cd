# SPDX-License-Identifier: Apache-2.0
"""Changes of services, told by service managers by way of missiond-units."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from missiond.common.backoff import Backoff
from missiond.core.keepalive.service_restart import RestartedService
from missiond.units.requests import MAX_MESSAGE, Question, encode

AT_ONCE = 8
"""Managers listened to at a time: each takes a process for as long as anybody listens."""

TIMEOUT = 60.0
"""Seconds for the process to be there."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds before a lost manager is listened to again; doubled each time."""

_RESULT = re.compile(r"[a-z0-9-]{0,40}", re.ASCII)


class Following:
    """One service, listened to until `close`."""

    def __init__(self, service: RestartedService, leave: Callable[[Following], None]) -> None:
        self.service = service
        self._on_change: Callable[[], None] | None = None
        self._on = asyncio.Event()
        self.result = ""
        """Where it was told to have failed, with what result."""
        self.removed = False
        """Whether the manager was told to have forgotten it."""
        self._leave = leave

    def on_change(self, callback: Callable[[], None] | None) -> None:
        """Have `callback` called at each change and at the end, in place of an earlier one."""
        self._on_change = callback

    @property
    def on(self) -> bool:
        """Whether every change is told."""
        return self._on.is_set()

    async def begun(self, seconds: float) -> None:
        """Return once every change is told, after `seconds` at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._on.wait()

    def close(self) -> None:
        """Listen no more; more than once does no harm."""
        self._leave(self)

    def tell(self, *, on: bool, result: str = "", removed: bool = False) -> None:
        """Note the known state, and call back."""
        self.removed = removed
        if on:
            self._on.set()
            self.result = result
        else:
            self._on.clear()
        if self._on_change is not None:
            self._on_change()


class UnitChanges:
    """Listeners to managers, each for as long as a service is followed, over one connection for all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._free = asyncio.Semaphore(AT_ONCE)
        self._listeners: dict[int | None, _Listener] = {}

    def follow(self, service: RestartedService) -> Following:
        """Follow the changes of a service from soon on."""
        following = Following(service, self._leave)
        listener = self._listeners.get(service.manager)
        if listener is None:
            listener = self._listeners[service.manager] = _Listener(self._path, self._free, service.manager)
        listener.add(following)
        return following

    def _leave(self, following: Following) -> None:
        listener = self._listeners.get(following.service.manager)
        if listener is not None and listener.leave(following):
            del self._listeners[following.service.manager]


class _Listener:
    """One manager."""

    def __init__(self, path: Path, free: asyncio.Semaphore, manager: int | None) -> None:
        self._path = path
        self._free = free
        self._manager = manager
        self._followed: dict[str, list[Following]] = {}
        self._asked: set[str] = set()
        self._known: dict[str, tuple[str, bool]] = {}
        self._connection: socket.socket | None = None
        self._work = asyncio.get_running_loop().create_task(self._run())

    def add(self, following: Following) -> None:
        name = following.service.name
        self._followed.setdefault(name, []).append(following)
        if name in self._known:
            asyncio.get_running_loop().call_soon(self._tell, name, following)
        else:
            self._ask(name)

    def leave(self, following: Following) -> bool:
        """Whether nobody is left."""
        each = self._followed.get(following.service.name, [])
        if following not in each:
            return False
        each.remove(following)
        if not each:
            del self._followed[following.service.name]
        if not self._followed:
            self._work.cancel()
        return not self._followed

    async def _run(self) -> None:
        pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            async with self._free:
                with suppress(OSError, TimeoutError):
                    await self._listen()
            if self._known:
                pauses.reset()
            self._lost()
            await asyncio.sleep(pauses.next())

    async def _listen(self) -> None:
        """Until the connection ends; raises OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.setblocking(False)
            async with asyncio.timeout(TIMEOUT):
                await loop.sock_connect(connection, os.fspath(self._path))
            first, *others = self._followed
            connection.send(encode(Question("watch", self._manager, first)))
            self._asked = {first}
            self._connection = connection
            try:
                for name in others:
                    self._ask(name)
                async with asyncio.timeout(TIMEOUT):
                    data = await loop.sock_recv(connection, MAX_MESSAGE)
                while data:
                    self._hear(data)
                    data = await loop.sock_recv(connection, MAX_MESSAGE)
            finally:
                self._connection = None

    def _ask(self, name: str) -> None:
        if self._connection is not None and name not in self._asked:
            # where there is no room, the next connection asks
            with suppress(OSError):
                self._connection.send(name.encode())
                self._asked.add(name)

    def _hear(self, data: bytes) -> None:
        name, _, rest = data.decode("ascii", "replace").partition("\n")
        result, _, removed = rest.partition("\n")
        if name in self._asked and _RESULT.fullmatch(result):
            self._known[name] = result, removed == "removed"
            for following in list(self._followed.get(name, [])):
                self._tell(name, following)

    def _tell(self, name: str, following: Following) -> None:
        if name in self._known and following in self._followed.get(name, []):
            result, removed = self._known[name]
            following.tell(on=True, result=result, removed=removed)

    def _lost(self) -> None:
        self._known.clear()
        for following in [each for all_of_it in self._followed.values() for each in all_of_it]:
            if following.on:
                following.tell(on=False)
