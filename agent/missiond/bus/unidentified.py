# SPDX-License-Identifier: Apache-2.0
"""Calls whose answer depends on who asks, until the bus has said who that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from missiond.bus.callers import Callers
from missiond.bus.wire.message import Incoming
from missiond.errors import CallerVerificationFailed, TransactionFailed

MOST = 128
"""Calls of one connection that may wait."""


class UnidentifiedCalls:
    """Hands calls to `serve` again, in their order, once their sender is known, or can't be known."""

    def __init__(
        self, callers: Callers, serve: Callable[[Incoming], None], most_bytes: Callable[[], int]
    ) -> None:
        self._callers = callers
        self._serve = serve
        self._most_bytes = most_bytes
        self._waiting: dict[str, list[Incoming]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._unknown = ""
        """Whose calls are served now although nobody knows who that is."""

    def put(self, call: Incoming) -> bool:
        """Whether the call has to wait. Raises TransactionFailed where too many do."""
        sender = call.sender or ""
        if self._callers.cached(sender) is not None or sender == self._unknown:
            return False
        if call.body_length > self._most_bytes():
            return False  # which is refused
        waiting = self._waiting.setdefault(sender, [])
        if len(waiting) >= MOST:
            raise TransactionFailed(f"{MOST} calls of this connection wait already; wait for replies")
        waiting.append(call)
        if len(waiting) == 1:
            task = asyncio.get_running_loop().create_task(self._ask(sender))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return True

    def flush(self) -> None:
        """Serve all now: the server answers no more."""
        waiting, self._waiting = self._waiting, {}
        for sender, calls in waiting.items():
            self._unknown = sender
            for call in calls:
                self._serve(call)
        self._unknown = ""

    async def _ask(self, sender: str) -> None:
        try:
            await self._callers.identify(sender)
        except CallerVerificationFailed:
            self._unknown = sender  # it sees what everybody may see
        try:
            for call in self._waiting.pop(sender, ()):
                self._serve(call)
        finally:
            self._unknown = ""
