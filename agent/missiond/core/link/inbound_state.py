# SPDX-License-Identifier: Apache-2.0
"""One state from a peer, from the announcement to the last word."""

from __future__ import annotations

from collections.abc import Callable

from missiond.core.link.checks import BadMessage
from missiond.core.link.interfaces import StateSink
from missiond.core.link.letters import Chunk, Got, State, Taken
from missiond.core.link.timeouts import WINDOW
from missiond.errors import AgentError

_OFTEN = WINDOW // 4
"""The peer is told that so much more is kept, not of every piece."""


class InboundState:
    """A state under way; `stir` is called when there may be something to say."""

    def __init__(self, state: State, sink: StateSink, stir: Callable[[], None]) -> None:
        self._state = state
        self._sink = sink
        self._stir = stir
        self._kept: int | None = None
        self._told: int | None = None
        self._heard = 0
        self._error: AgentError | None = None
        self.over = False
        """Whether the last word has been said."""

    def begin(self) -> None:
        """Open the sink for the state."""
        self._sink.begin(self)

    def take(self, chunk: Chunk) -> None:
        """Take a piece; raises BadMessage for one out of order or not asked for."""
        if self._error is not None:
            return  # it was under way
        if self._told is None or chunk.offset != self._heard:
            raise BadMessage("a piece of state that does not follow")
        end = chunk.offset + len(chunk.data)
        if end > min(self._state.size, self._told + WINDOW):
            raise BadMessage("more state than was announced, or than may be under way")
        self._heard = end
        self._sink.write(chunk.data)

    def next(self) -> Got | Taken | None:
        """Return the next message, taken as sent."""
        n, size, kept = self._state.n, self._state.size, self._kept
        if self._error is not None:
            self.over = True
            return Taken.of(n, self._error)
        if kept is None:
            return None
        if self._told is None or kept - self._told >= _OFTEN or (kept == size and self._told != size):
            self._told = kept
            return Got(n, kept)
        if kept == size:
            self.over = True
            return Taken(n)
        return None

    def end(self) -> None:
        """Take nothing more."""
        self._sink.end(self)

    # --- from the sink

    def written(self, offset: int) -> None:
        """Note the end of the kept bytes."""
        if self._kept is None:
            self._heard = offset
        self._kept = offset
        self._stir()

    def failed(self, error: AgentError) -> None:
        """Note the end of all keeping."""
        self._error = self._error or error
        self._stir()
