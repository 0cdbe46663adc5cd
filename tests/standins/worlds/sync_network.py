# SPDX-License-Identifier: Apache-2.0
"""Connections between sessions: messages in order, room for a few, late, cut or lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from missiond.core.link.message_types import Message
from missiond.core.link.messages import parse, serialise
from missiond.core.sync.session import Session

ROOM = 3
"""Messages under way in one direction when the sender is told to wait."""


@dataclass(eq=False)
class End:
    """One host's end of a connection."""

    session: Session | None = None
    """None once the host knows that the connection is over."""
    inbox: deque[bytes] = field(default_factory=deque)
    """Under way to this end; empty bytes: the other side has hung up."""
    other: End | None = None
    """None where what is sent goes nowhere."""
    see: Callable[[Message], None] = lambda message: None
    """Is shown all that is sent."""

    def send(self, message: Message) -> None:
        self.see(message)
        data = serialise(message)
        assert parse(data) == message
        if self.other is None:
            return
        self.other.inbox.append(data)
        # A session may say a last word, and greets before it knows of room; all else waits.
        assert len(self.other.inbox) <= ROOM + 2
        if self.session is not None and len(self.other.inbox) >= ROOM:
            self.session.can_send(False)

    def deliver(self) -> bool:
        """Let the host read one message; false if there is none."""
        if not self.inbox or self.session is None:
            return False
        data = self.inbox.popleft()
        if not data:
            self.hang_up("the other side hung up")
            return True
        self.session.received(parse(data))
        sender = self.other
        if sender is not None and sender.session is not None and len(self.inbox) < ROOM:
            sender.session.can_send(True)
        return True

    def hang_up(self, reason: str) -> None:
        """Close this end; the other one reads so after all that it has been sent."""
        session, self.session = self.session, None
        if session is not None:
            session.close(reason)
        other, self.other = self.other, None
        self.inbox.clear()
        if other is not None:
            other.other = None
            other.inbox.append(b"")


@dataclass(eq=False)
class Wire:
    """A connection between two hosts."""

    ends: dict[str, End]

    @property
    def whole(self) -> bool:
        """Whether both ends are there and know of each other."""
        return all(end.session is not None and end.other is not None for end in self.ends.values())

    def reset(self, noticed_by: set[str]) -> None:
        """Lose all that is under way; a host that does not notice goes on sending to nobody."""
        for name, end in self.ends.items():
            end.other = None
            end.inbox.clear()
            if name in noticed_by:
                end.inbox.append(b"")

    def replace(self) -> None:
        """Let both hosts close it in favour of another."""
        for end in self.ends.values():
            end.hang_up("another connection takes its place")
