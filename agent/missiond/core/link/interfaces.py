# SPDX-License-Identifier: Apache-2.0
"""The two ends of a link: sources and sinks of state, and the reader of letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from missiond.errors import AgentError

if TYPE_CHECKING:
    from missiond.core.link.inbound_state import InboundState

Reply = Callable[[AgentError | None], None]
"""Takes the outcome of a request, once; None is success. Later ones are ignored."""


class StateSource(Protocol):
    """A state to send, owned by the request and closed with the request."""

    def read(self, offset: int, most: int) -> bytes | memoryview | None:
        """Return 1 to `most` bytes, None while none are there: then the link is stirred later.

        Raises AgentError where they can't be had.
        """

    def progress(self, offset: int) -> None:
        """Note the end of the bytes kept by the other side."""

    def close(self) -> None:
        """End all reading."""


class StateSink(Protocol):
    """The destination of a state, beyond the end of links: kept bytes stay."""

    def begin(self, inbound: InboundState) -> None:
        """Take a state in from the `offset` told to `inbound.written`, in place of any other inbound."""

    def write(self, data: bytes | memoryview) -> None:
        """Keep the next bytes, never more than `timeouts.WINDOW` ahead of the told offset."""

    def end(self, inbound: InboundState) -> None:
        """Let go of an inbound state, complete or not."""


class RequestHandler(Protocol):
    """Decides about requests of a peer; must not raise anything but AgentError."""

    def letter(self, transfer: str, step: str, body: str, reply: Reply) -> None:
        """Read a letter of the peer."""

    def state(self, transfer: str, offset: int, size: int) -> StateSink:
        """Return the sink for the rest of a state, from `offset` on; raises AgentError."""
