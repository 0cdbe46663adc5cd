# SPDX-License-Identifier: Apache-2.0
"""The events of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from missiond.core.link.message_types import Hello
from missiond.core.link.values import Values
from missiond.errors import AgentError

Reply = Callable[[Values | AgentError], None]
"""Takes the answer to a question, once; later ones, and any after the session's end, are ignored."""


class SessionEvents(Protocol):
    """Called from within the session's methods; must not raise, and may call the session in turn."""

    def up(self, hello: Hello) -> None:
        """Note the acceptance by both hosts: from now on the peer counts as connected."""

    def renamed(self, name: str) -> None:
        """Take up a new name of the peer."""

    def agent_back(self) -> None:
        """Repeat hand-overs for the restarted agent of the peer."""

    def list_changed(self) -> None:
        """Note a changed view (MissionsChanged), or a first complete one."""

    def snapshot_changed(self, mission: int) -> None:
        """Note a new snapshot of a mission in the view (SnapshotChanged)."""

    def sync_refused(self, error: AgentError) -> None:
        """Note a refusal by the peer, or a conflict of versions, against a wanted sync.

        A peer's refusal may end by itself (it grants the permission): then the view fills.
        """

    def asked(self, what: str, mission: int, reply: Reply) -> None:
        """Answer a question of the peer, INFO or SNAPSHOT, about a mission of this host."""

    def snapshots_wanted(self, *, on: bool) -> None:
        """Note whether the peer wants `Session.snapshot_changed` to be called."""

    def closed(self, reason: str, *, broken: bool) -> None:
        """Close the connection: the session is over, said once in any case.

        `broken` where the peer broke the protocol: worth a line in the log and a longer pause.
        """
