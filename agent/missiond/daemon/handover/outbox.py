# SPDX-License-Identifier: Apache-2.0
"""Messages of hand-overs on the way to other hosts, with the answers to refusals."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from missiond.common.background_work import BackgroundWork
from missiond.core.handover.effects import Send
from missiond.core.handover.messages import BEGINS, Step
from missiond.core.handover.transfer import outcome
from missiond.daemon.handover.client import HandoverClient
from missiond.errors import AgentError, DistributedServiceFailed, PermissionDenied

_LOGGER = logging.getLogger(__name__)

_OUTCOMES = frozenset({Step.STARTED.value, Step.REFUSED.value})
PATIENCE = 15
"""Refusals of an outcome by a host without knowledge of the transfer, until believed."""
PAUSE = 1.0
"""Seconds until something lost is said again."""
MOST = 15
"""Repetitions for one transfer; after these the coordinator's own timers decide."""

Heard = Callable[[str, str, str, Mapping[str, Any]], None]
"""Take in a peer's message: peer, transfer, step, body."""


class Outbox:
    """Messages on the way to peers, arriving at each device in the order of `send`, or not at all.

    Where the link is up and the agent over there was away, or not ready, `again` is called for that peer
    soon.
    """

    def __init__(
        self,
        client: HandoverClient,
        heard: Heard,
        again: Callable[[str], None],
        unpermitted: Callable[[str, str], str],
    ) -> None:
        """Send by `client`.

        :param unpermitted: returns a sentence on a refused permission, given a peer and the refused step.
        """
        self._client = client
        self._heard = heard
        self._again = again
        self._unpermitted = unpermitted
        self._work = BackgroundWork(_LOGGER, "sending a message of a hand-over")
        self._denied: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._linked: set[str] = set()
        self._soon: dict[str, asyncio.TimerHandle] = {}

    def send(self, message: Send) -> None:
        """Start to send a message."""
        self._work.start(self._send(message), key=message.transfer)

    async def sent(self, transfer: str) -> None:
        """Return when no message of this transfer is under way any more."""
        if tasks := self._work.of(transfer):
            await asyncio.wait(tasks)

    def link(self, peer: str, *, up: bool) -> None:
        """Note the rise or fall of a link to a peer."""
        (self._linked.add if up else self._linked.discard)(peer)
        if up:
            self._lost.clear()  # those of others may begin anew as well: they are few

    def lost(self, peer: str, transfer: str) -> None:
        """Have the messages of a transfer repeated soon, after a loss."""
        self._lost[transfer] += 1
        if self._lost[transfer] <= MOST and peer not in self._soon:
            self._soon[peer] = asyncio.get_running_loop().call_later(PAUSE, self._ring, peer)

    def forget(self, transfer: str) -> None:
        """Forget a transfer after the last message under way."""
        self._denied.pop(transfer, None)
        self._lost.pop(transfer, None)
        self._work.start(self._forget(transfer))

    def close(self) -> None:
        """Send nothing any more."""
        self._work.close()
        for handle in self._soon.values():
            handle.cancel()
        self._soon.clear()

    async def _send(self, message: Send) -> None:
        transfer, step = message.transfer, message.step
        body = json.dumps(message.body, separators=(",", ":"))
        try:
            await self._client.send(message.peer, transfer, step, body)
        except DistributedServiceFailed as error:
            # What matters is repeated once there is a link, or soon where there is one.
            _LOGGER.debug("%s of %s was not taken: %s", step, transfer, error.text)
            self.lost(message.peer, transfer)
        except AgentError as error:
            self._refused(message, error)
        else:
            self._denied.pop(transfer, None)

    def _refused(self, message: Send, error: AgentError) -> None:
        """Take a refusal as the answer to OFFER or PULL, and many refusals of an outcome as "unknown".

        A peer unit that has just started knows of no transfers until its agent has named them.
        """
        peer, transfer, step = message.peer, message.transfer, message.step
        _LOGGER.info("%s of %s was refused by the other host: %s", step, transfer, error.text)
        if step in BEGINS:
            code, reason = outcome(error)
            if isinstance(error, PermissionDenied):
                reason = self._unpermitted(peer, step)
            self._heard(
                peer, transfer, Step.REFUSED.value, {"code": code, "reason": reason[:1024], "fence": 0}
            )
        elif step in _OUTCOMES and isinstance(error, PermissionDenied):
            self._denied[transfer] += 1
            if self._denied[transfer] >= PATIENCE:
                self._heard(peer, transfer, Step.UNKNOWN.value, {})
            else:
                self.lost(peer, transfer)
        else:
            self.lost(peer, transfer)

    async def _forget(self, transfer: str) -> None:
        await self.sent(transfer)
        self._client.forget(transfer)

    def _ring(self, peer: str) -> None:
        del self._soon[peer]
        if peer in self._linked:
            self._again(peer)
