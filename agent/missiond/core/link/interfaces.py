# SPDX-License-Identifier: Apache-2.0
"""The two ends of what a link carries: where state comes from and goes to, and who reads letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from missiond.errors import AgentError

if TYPE_CHECKING:
    from missiond.core.link.inbound_state import InboundState

Reply = Callable[[AgentError | None], None]
"""Takes the outcome of a request, once; None is success. Later ones are ignored."""


class StateSource(Protocol):
    """The state that is sent. It belongs to the request and is closed with it."""

    def read(self, offset: int, most: int) -> bytes | memoryview | None:
        """Return 1 to `most` bytes, None where they are not there yet: then the link is stirred later.

        Raises AgentError where they can't be had.
        """

    def progress(self, offset: int) -> None:
        """The other side keeps all up to here."""

    def close(self) -> None:
        """Nothing more is read."""


class StateSink(Protocol):
    """Where a state goes. It outlives links: what is kept stays."""

    def begin(self, inbound: InboundState) -> None:
        """Take a state in from the `offset` that `inbound.written` is told, in place of any other inbound."""

    def write(self, data: bytes | memoryview) -> None:
        """Keep what follows; at most `limits.WINDOW` bytes are given that it has not told of."""

    def end(self, inbound: InboundState) -> None:
        """Nothing more comes from there, complete or not."""


class RequestHandler(Protocol):
    """Whoever decides about what a peer sends; must not raise anything else."""

    def letter(self, transfer: str, step: str, body: str, reply: Reply) -> None:
        """The peer has something to say."""

    def state(self, transfer: str, offset: int, size: int) -> StateSink:
        """Return where this state goes, of which the peer has what follows `offset`; raises AgentError."""
