# SPDX-License-Identifier: Apache-2.0
"""Messages of hand-overs on their way to other hosts, and what comes of those that are refused there."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from missiond.core.handover.effects import Send
from missiond.core.handover.messages import Step
from missiond.daemon.handover.result_codes import outcome
from missiond.errors import AgentError, DistributedServiceFailed, PermissionDenied

_LOGGER = logging.getLogger(__name__)

BEGINS = frozenset({Step.OFFER.value, Step.PULL.value})
_OUTCOMES = frozenset({Step.STARTED.value, Step.REFUSED.value})
PATIENCE = 15
"""So often a host may refuse to hear how it ended, without knowing the transfer, until we believe it."""

Heard = Callable[[str, str, str, Mapping[str, Any]], None]
"""Tell the book that a peer said something: peer, transfer, step, body."""


class Carrier(Protocol):
    """The courier, as far as messages go; each raises AgentError."""

    async def send(self, device_id: str, transfer: str, step: str, body: str) -> None:
        """Return when it was taken over there."""
        ...

    def forget(self, transfer: str) -> None:
        """Have nothing to do with it any more."""
        ...


class Outbox:
    """Sends without waiting; messages to one device arrive in the order of `send`, or not at all."""

    def __init__(self, carrier: Carrier, heard: Heard, lost: Callable[[str, str], None]) -> None:
        """:param lost: hears of peer and transfer where something has not arrived."""
        self._carrier = carrier
        self._heard = heard
        self._lost = lost
        self.unpermitted: Callable[[str, str, str], str] = lambda _peer, _step, text: text
        """Says who does not let whom do what, given a peer, the step that it refused, and its own words."""
        self._under_way: dict[str, set[asyncio.Task[None]]] = {}
        self._forgotten: set[asyncio.Task[None]] = set()
        self._denied: Counter[str] = Counter()

    def send(self, message: Send) -> None:
        """Put it on its way."""
        task = asyncio.get_running_loop().create_task(self._send(message))
        tasks = self._under_way.setdefault(message.transfer, set())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def sent(self, transfer: str) -> None:
        """Return when nothing of this transfer is on its way any more."""
        if tasks := self._under_way.get(transfer):
            await asyncio.wait(set(tasks))

    def forget(self, transfer: str) -> None:
        """Let what is on its way arrive, and have no more to do with it then."""
        self._denied.pop(transfer, None)
        task = asyncio.get_running_loop().create_task(self._forget(transfer))
        self._forgotten.add(task)
        task.add_done_callback(self._forgotten.discard)

    def close(self) -> None:
        """Send nothing any more."""
        for task in [*self._forgotten, *(task for tasks in self._under_way.values() for task in tasks)]:
            task.cancel()

    async def _send(self, message: Send) -> None:
        transfer, step = message.transfer, message.step
        body = json.dumps(message.body, separators=(",", ":"))
        try:
            await self._carrier.send(message.peer, transfer, step, body)
        except DistributedServiceFailed as error:
            # What matters is repeated once there is a link, or soon where there is one.
            _LOGGER.debug("%s of %s was not taken: %s", step, transfer, error.text)
            self._lost(message.peer, transfer)
        except AgentError as error:
            self._refused(message, error)
        else:
            self._denied.pop(transfer, None)

    def _refused(self, message: Send, error: AgentError) -> None:
        """Take it as the answer where it began something; where it said how it ended, as "unknown" in time.

        A peer unit that has just started knows of no transfers until its agent has named them.
        """
        peer, transfer, step = message.peer, message.transfer, message.step
        _LOGGER.info("%s of %s was refused by the other host: %s", step, transfer, error.text)
        if step in BEGINS:
            code, reason = outcome(error)
            if isinstance(error, PermissionDenied):
                reason = self.unpermitted(peer, step, reason)
            self._heard(
                peer, transfer, Step.REFUSED.value, {"code": code, "reason": reason[:1024], "fence": 0}
            )
        elif step in _OUTCOMES and isinstance(error, PermissionDenied):
            self._denied[transfer] += 1
            if self._denied[transfer] >= PATIENCE:
                self._heard(peer, transfer, Step.UNKNOWN.value, {})
            else:
                self._lost(peer, transfer)
        else:
            self._lost(peer, transfer)

    async def _forget(self, transfer: str) -> None:
        await self.sent(transfer)
        self._under_way.pop(transfer, None)
        self._carrier.forget(transfer)
