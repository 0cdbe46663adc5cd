# SPDX-License-Identifier: Apache-2.0
"""Two ends of a link that carry hand-overs, with nothing between them but a queue each way."""

from __future__ import annotations

from collections import deque
from typing import Any

from missiond.core.link.channel import HandoverChannel
from missiond.core.link.inbound_state import InboundState
from missiond.core.link.interfaces import Reply, StateSink
from missiond.core.link.letters import HandoverMessage
from missiond.core.link.messages import parse, serialise
from missiond.core.link.timeouts import MAX_CHUNK, Patience
from missiond.errors import AgentError, DistributedServiceFailed
from standins.worlds.clock import FakeClock

PATIENCE = Patience(reply=10_000, answer=45_000, stall=60_000)


class Memory:
    """A Source, and a Sink: bytes that are there at once, or when told."""

    def __init__(self, data: bytes = b"", size: int = 0) -> None:
        self.data = bytearray(data)
        self.size = size or len(data)
        self.inbound: InboundState | None = None
        self.slow = False
        """Whether nothing is read or kept until `keep`."""
        self.closed = False
        self.kept: list[int] = []
        self._unkept: list[bytes] = []

    def read(self, offset: int, most: int) -> bytes | None:
        if self.slow:
            return None
        if offset >= len(self.data):
            raise DistributedServiceFailed("too short")
        return bytes(self.data[offset : offset + most])

    def progress(self, offset: int) -> None:
        self.kept.append(offset)

    def close(self) -> None:
        self.closed = True

    def begin(self, inbound: InboundState) -> None:
        if self.inbound is not None:
            self.inbound.failed(DistributedServiceFailed("anew"))
        self.inbound = inbound
        inbound.written(len(self.data))

    def write(self, data: bytes | memoryview) -> None:
        self._unkept.append(bytes(data))
        if not self.slow:
            self.keep()

    def keep(self) -> None:
        """Keep what has come."""
        for piece in self._unkept:
            self.data += piece
        self._unkept.clear()
        if self.inbound is not None:
            self.inbound.written(len(self.data))

    @property
    def waiting(self) -> int:
        """Bytes that came and are not kept."""
        return sum(map(len, self._unkept))

    def end(self, inbound: InboundState) -> None:
        if inbound is self.inbound:
            self.inbound = None


class End:
    """One of them: a desk, and what was said and heard."""

    def __init__(self, clock: FakeClock) -> None:
        self.handovers = HandoverChannel(self, clock, lambda: None, PATIENCE)
        self.letters: list[tuple[str, str, str]] = []
        self.replies: deque[Reply] = deque()
        self.hold = False
        self.refusal: AgentError | None = None
        self.sinks: dict[str, Memory] = {}
        self.outcomes: list[tuple[str, AgentError | None]] = []

    def letter(self, transfer: str, step: str, body: str, reply: Reply) -> None:
        self.letters.append((transfer, step, body))
        if self.hold:
            self.replies.append(reply)
        else:
            reply(self.refusal)

    def state(self, transfer: str, _offset: int, _size: int) -> StateSink:
        if transfer not in self.sinks:
            raise DistributedServiceFailed("not expected")
        return self.sinks[transfer]

    def outcome(self, name: str) -> Reply:
        """Note what becomes of a request."""
        return lambda error: self.outcomes.append((name, error))

    def send(self, transfer: str, step: str, body: str = "{}") -> None:
        self.handovers.send(transfer, step, body, self.outcome(step))

    def send_state(self, transfer: str, source: Memory, offset: int = 0) -> None:
        self.handovers.send_state(transfer, source, offset, source.size, self.outcome(transfer))


class Pair:
    """Both, and messages under way between them, as bytes."""

    def __init__(self) -> None:
        self.clock = FakeClock(1_000_000)
        self.one, self.other = End(self.clock), End(self.clock)

    def exchange(self, most: int = 1_000_000) -> list[HandoverMessage]:
        """Let them talk until neither has more to say; what was said."""
        said: list[HandoverMessage] = []
        while len(said) < most:
            before = len(said)
            for here, there in ((self.one, self.other), (self.other, self.one)):
                message = here.handovers.next()
                if message is not None:
                    said.append(message)
                    there.handovers.received(parse(serialise(message)))
            if len(said) == before:
                break
        return said

    def advance(self, ms: int) -> None:
        self.clock.advance(ms)
        for end in (self.one, self.other):
            end.handovers.expire(self.clock.now())


def texts(outcomes: list[tuple[str, AgentError | None]]) -> list[Any]:
    """Names and error texts."""
    return [(name, error and error.text) for name, error in outcomes]


__all__ = ["MAX_CHUNK", "PATIENCE", "End", "Memory", "Pair", "texts"]
