# SPDX-License-Identifier: Apache-2.0
"""What a session tells the program that it is part of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from missiond.core.link.message_types import Hello
from missiond.core.link.values import Values
from missiond.errors import AgentError

Reply = Callable[[Values | AgentError], None]
"""Takes the answer to a question, once; later ones, and any after the session's end, are ignored."""


class SessionEvents(Protocol):
    """Called from within the session's methods; must not raise. It may call the session in turn."""

    def up(self, hello: Hello) -> None:
        """Both hosts have accepted each other: from now on the peer counts as connected."""

    def renamed(self, name: str) -> None:
        """The peer is called otherwise than its hello said."""

    def agent_back(self) -> None:
        """The peer's agent was started anew: what it was told of hand-overs is to be said again."""

    def list_changed(self) -> None:
        """What the view shows has changed (MissionsChanged), or it is complete for the first time."""

    def snapshot_changed(self, mission: int) -> None:
        """There is something new to see of a mission in the view (SnapshotChanged)."""

    def sync_refused(self, error: AgentError) -> None:
        """The peer, or a conflict of versions, stands against the sync that was asked for.

        A peer's refusal may end by itself (it grants the permission): then the view fills.
        """

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """The peer wants to know INFO or SNAPSHOT of a mission of this host."""

    def snapshots_wanted(self, *, on: bool) -> None:
        """Whether the peer wants `Session.snapshot_changed` to be called."""

    def closed(self, reason: str, *, broken: bool) -> None:
        """The session is over, said once however it ended: close the connection.

        `broken` where the peer broke the protocol: worth a line in the log and a longer pause.
        """
