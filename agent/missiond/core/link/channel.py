# SPDX-License-Identifier: Apache-2.0
"""All messages of hand-overs on one link, both ways."""

from __future__ import annotations

from collections.abc import Callable

from missiond.common.clock import Clock
from missiond.core.link.checks import BadMessage
from missiond.core.link.inbound import InboundRequests
from missiond.core.link.interfaces import Reply, RequestHandler, StateSource
from missiond.core.link.letters import Cancel, Chunk, Got, HandoverMessage, Letter, State, Taken
from missiond.core.link.message_types import Message
from missiond.core.link.outbound import OutboundRequests
from missiond.core.link.timeouts import Patience
from missiond.errors import AgentError


class HandoverChannel:
    """Needs memory within the limits of `timeouts`, for any behaviour of the peer.

    `stir` is called when there is something to send: the session then asks `next`, after all that it has
    to say itself, and only while the link takes more.
    """

    def __init__(
        self,
        handler: RequestHandler,
        clock: Clock,
        stir: Callable[[], None],
        patience: Patience | None = None,
    ) -> None:
        patience = patience or Patience()
        self._clock = clock
        self._stir = stir
        self._outgoing = OutboundRequests(patience)
        self._incoming = InboundRequests(handler, clock, patience, stir)

    @property
    def receiving(self) -> bool:
        """Whether a state comes in."""
        return self._incoming.receiving

    def send(self, transfer: str, step: str, body: str, reply: Reply) -> None:
        """Send a letter; raises TransactionFailed."""
        self._outgoing.send(transfer, step, body, reply, self._clock.now())
        self._stir()

    def send_state(self, transfer: str, source: StateSource, offset: int, size: int, reply: Reply) -> None:
        """Send a state, from `offset` at the earliest; raises TransactionFailed."""
        self._outgoing.send_state(transfer, source, offset, size, reply, self._clock.now())
        self._stir()

    def abandon(self, transfer: str, error: AgentError) -> None:
        """Send nothing more of a transfer; waiting callers get the error."""
        self._outgoing.abandon(transfer, error)
        self._stir()

    # --- from the session

    def received(self, message: Message) -> None:
        """Take in a message of the peer; raises BadMessage."""
        match message:
            case Got() | Taken():
                self._outgoing.answered(message, self._clock.now())
            case Letter() | State() | Chunk() | Cancel():
                self._incoming.received(message)
            case _:
                raise BadMessage(f"{message.kind} has no place here")

    def next(self) -> HandoverMessage | None:
        """Return the next message, taken as sent; None for nothing."""
        return self._incoming.next() or self._outgoing.next()

    def next_deadline(self) -> int | None:
        """Return the time for `expire`."""
        dues = (self._incoming.next_deadline(), self._outgoing.next_deadline())
        return min((due for due in dues if due is not None), default=None)

    def expire(self, now: int) -> None:
        """Give up requests out of time."""
        self._incoming.expire(now)
        self._outgoing.expire(now)

    def close(self, reason: str) -> None:
        """Give up everything after the end of the link."""
        self._incoming.close()
        self._outgoing.close(reason)
