# SPDX-License-Identifier: Apache-2.0
"""What else crosses a link, beside what a session says itself."""

from __future__ import annotations

from typing import Protocol

from missiond.core.link.message_types import Message


class Extension(Protocol):
    """Called from within the session's methods; it must not raise but what is said."""

    def received(self, message: Message) -> None:
        """Take in what the peer says; raises BadMessage."""

    def next(self) -> Message | None:
        """Return what is to be sent, and take it as sent; asked when nothing else is left to send."""

    def next_deadline(self) -> int | None:
        """When `expire` has to be called, in ms; None if never."""

    def expire(self, now: int) -> None:
        """Do what is due."""

    def close(self, reason: str) -> None:
        """The session is over."""
