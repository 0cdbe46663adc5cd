# SPDX-License-Identifier: Apache-2.0
"""Who may do what: uid 0 everything, others what polkit says."""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Protocol

from missiond.errors import PermissionDenied, TransactionFailed
from missiond.host.polkit import PolkitMissing

MAX_WAITING = 16
"""Calls of one user that may wait for polkit, so that nobody uses up what the bus allows us (128)."""


class Action(Enum):
    """The polkit actions of org.missiond.Agent1.policy."""

    KEEP_BACKGROUND_RUNNING = "org.missiond.Agent1.keep-background-running"
    MANAGE_MISSIONS = "org.missiond.Agent1.manage-missions"
    DISTRIBUTED_DATASYNC = "org.missiond.Agent1.distributed-datasync"
    MANAGE_PEERS = "org.missiond.Agent1.manage-peers"
    MANAGE_OTHERS = "org.missiond.Agent1.manage-others"


class Request(Protocol):
    """A call, as far as permission goes."""

    @property
    def sender(self) -> str:
        """Unique bus name."""
        ...

    @property
    def interactive(self) -> bool:
        """Whether the caller lets polkit ask the user (ALLOW_INTERACTIVE_AUTHORIZATION)."""
        ...


class Checker(Protocol):
    """polkit, as far as the agent needs it."""

    async def check(self, action: str, sender: str, *, interactive: bool) -> bool:
        """Whether the sender may do it."""
        ...


class Authority:
    """Asks polkit about the sender's bus name, never about a pid (CVE-2025-67859)."""

    def __init__(self, polkit: Checker | None) -> None:
        """With None (the session bus, where everybody is the same user) everything is allowed."""
        self._polkit = polkit
        self._waiting: Counter[int] = Counter()

    async def require(self, action: Action, request: Request, uid: int) -> None:
        """Return where the caller may; raise PermissionDenied otherwise."""
        if uid == 0 or self._polkit is None:
            return
        if self._waiting[uid] >= MAX_WAITING:
            raise TransactionFailed(f"{MAX_WAITING} calls of this user wait for polkit; let one end first")
        self._waiting[uid] += 1
        try:
            allowed = await self._polkit.check(action.value, request.sender, interactive=request.interactive)
        except PolkitMissing:
            raise PermissionDenied("this host has no polkit, so only uid 0 may; install polkitd") from None
        finally:
            self._waiting[uid] -= 1
            if not self._waiting[uid]:
                del self._waiting[uid]
        if not allowed:
            raise PermissionDenied(f"polkit denies {action.value} to this caller; see polkit(8)")
