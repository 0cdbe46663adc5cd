# SPDX-License-Identifier: Apache-2.0
"""Messages of other hosts' agents about hand-overs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HandoverLetter:
    """One of them; `body` is a JSON object (checked), of which nothing else is known."""

    device_id: str
    transfer: str
    step: str
    body: str = field(repr=False)
    permissions: tuple[str, ...] = ()
    """What the sender may do on this host, as it was when the message came."""

    @property
    def may_continue(self) -> bool:
        """Whether the sender may begin hand-overs."""
        return "continue" in self.permissions


class Mailbox(Protocol):
    """Whoever takes them."""

    async def received(self, letter: HandoverLetter) -> None:
        """Take note of it, so that it can't be lost any more; raises AgentError, which goes to the sender.

        The next one of that device comes when this has returned; after 10 s the sender is told that nobody
        answers.
        """
