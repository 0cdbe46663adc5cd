# SPDX-License-Identifier: Apache-2.0
"""A service on a private bus that records its calls, and fails, hangs, vanishes and comes back when told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from missiond.bus.connection import Connection
from missiond.bus.pending_calls import RemoteError
from missiond.bus.variants import unwrap
from missiond.bus.wire.message import Incoming

Answer = tuple[str, tuple[Any, ...]]
_DO_NOT_QUEUE = 4


class Neighbour:
    """Base of the stand-ins: a method `Foo` is answered by `async def foo(call, *arguments)`."""

    name: ClassVar[str]
    interface: ClassVar[str]
    methods: ClassVar[dict[str, str]]
    """Name in Python to name on the bus."""

    def __init__(self, address: str) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        """Method and plain arguments of every call, in order."""
        self.failures: dict[str, tuple[str, str]] = {}
        """Method to the D-Bus error that it answers with."""
        self.hanging: set[str] = set()
        """Methods that are not answered until taken out again by `answer_held`."""
        self._address = address
        self._connection: Connection | None = None
        self._held: list[Incoming] = []
        self._called = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connection(self) -> Connection:
        """The connection while it is there."""
        assert self._connection is not None
        return self._connection

    async def appear(self) -> None:
        """Connect and own the name."""
        self._connection = await Connection.open(self._address, fds=True)
        self._connection.set_call_handler(self._on_call)
        [result] = await self._connection.call_bus("RequestName", "su", (self.name, _DO_NOT_QUEUE))
        assert result == 1, f"{self.name} is taken"

    async def vanish(self) -> None:
        """Disconnect, as a process that dies does; calls under way are left without an answer."""
        for task in self._tasks:
            task.cancel()
        self._held.clear()
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def called(self, method: str) -> list[list[Any]]:
        """Arguments of every call of one method."""
        return [arguments for name, arguments in self.calls if name == method]

    async def until_called(self, method: str, times: int = 1) -> None:
        """Wait for so many calls in all."""
        while len(self.called(method)) < times:
            self._called.clear()
            await self._called.wait()

    def serves(self, interface: str) -> bool:
        """Whether calls to this interface are answered."""
        return interface == self.interface

    def answer_held(self) -> None:
        """Let nothing hang any more, and deal with the calls that do."""
        self.hanging.clear()
        held, self._held = self._held, []
        for call in held:
            self._start(call)

    def _on_call(self, call: Incoming) -> None:
        method = call.member or ""
        if not self.serves(call.interface or "") or method not in self.methods.values():
            self.connection.reply_error(call, "org.freedesktop.DBus.Error.UnknownMethod", method)
            return
        self.calls.append((method, unwrap(list(call.body))))
        self._called.set()
        if method in self.hanging:
            self._held.append(call)
        else:
            self._start(call)

    def _start(self, call: Incoming) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Incoming) -> None:
        method = call.member or ""
        if method in self.failures:
            self.connection.reply_error(call, *self.failures[method])
            return
        [function] = [python for python, name in self.methods.items() if name == method]
        handler: Callable[..., Coroutine[Any, Any, None]] = getattr(self, function)
        try:
            await handler(call, *unwrap(list(call.body)))
        except RemoteError as error:  # who called is gone, for one: the real one would say so and go on
            self.connection.reply_error(call, error.name, error.text)
