# SPDX-License-Identifier: Apache-2.0
"""Who may do what: uid 0 everything, others what polkit says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum
from types import MappingProxyType
from typing import Protocol

from missiond.errors import DENIED_BY_POLKIT, PermissionDenied, TransactionFailed
from missiond.host.polkit import PolkitMissing

MAX_WAITING = 16
"""Calls of one person that may wait for polkit, so that nobody uses up what the bus allows us (128)."""

_NO_DETAILS: Mapping[str, str] = MappingProxyType({})


class Action(Enum):
    """The polkit actions of org.missiond.Agent1.policy."""

    KEEP_BACKGROUND_RUNNING = "org.missiond.Agent1.keep-background-running"
    INHIBIT_HANDLE_LID_SWITCH = "org.missiond.Agent1.inhibit-handle-lid-switch"
    MANAGE_MISSIONS = "org.missiond.Agent1.manage-missions"
    DISTRIBUTED_DATASYNC = "org.missiond.Agent1.distributed-datasync"
    MANAGE_PEERS = "org.missiond.Agent1.manage-peers"
    MANAGE_OTHERS = "org.missiond.Agent1.manage-others"


LOCKS = {
    "idle": "org.freedesktop.login1.inhibit-block-idle",
    "shutdown": "org.freedesktop.login1.inhibit-block-shutdown",
    "handle-lid-switch": "org.freedesktop.login1.inhibit-handle-lid-switch",
}
"""What the agent itself needs of logind for what a task may have locked."""

OF_CALLERS = {"handle-lid-switch": Action.INHIBIT_HANDLE_LID_SWITCH}
"""What a caller needs for a lock which the agent may have and logind gives to users at the host only."""


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

    async def check(
        self,
        action: str,
        sender: str,
        *,
        interactive: bool,
        details: Mapping[str, str] = ...,
        person: int = ...,
    ) -> bool:
        """Whether the sender, which is this person's, may do it; raises PolkitMissing."""
        ...

    async def check_own(self, action: str) -> bool:
        """Whether the agent itself may do it; raises PolkitMissing."""
        ...


class Authority:
    """Asks polkit about the sender's bus name, never about a pid (CVE-2025-67859)."""

    def __init__(self, polkit: Checker | None, person_of: Callable[[int], int] = lambda uid: uid) -> None:
        """With None (the session bus, where everybody is the same user) everything is allowed.

        `person_of` tells from a uid who it is that has it: somebody may have thousands (subuid(5)).
        """
        self._polkit = polkit
        self._person_of = person_of
        self._waiting: Counter[int] = Counter()

    async def require(
        self, action: Action, request: Request, uid: int, details: Mapping[str, str] = _NO_DETAILS
    ) -> None:
        """Return where the caller may; raise PermissionDenied otherwise.

        Raises TransactionFailed where too many calls wait, SystemServiceFailed where polkit can't be asked.
        """
        if uid == 0 or self._polkit is None:
            return
        person = self._person_of(uid)
        if self._waiting[person] >= MAX_WAITING:
            raise TransactionFailed(f"{MAX_WAITING} calls of this user wait for polkit; let one end first")
        self._waiting[person] += 1
        try:
            allowed = await self._polkit.check(
                action.value,
                request.sender,
                interactive=request.interactive,
                details=details,
                person=person,
            )
        except PolkitMissing:
            raise PermissionDenied("this host has no polkit, so only uid 0 may; install polkitd") from None
        finally:
            self._waiting[person] -= 1
            if not self._waiting[person]:
                del self._waiting[person]
        if not allowed:
            raise PermissionDenied(f"{DENIED_BY_POLKIT}{action.value} to this caller; see polkit(8)")

    async def require_locks(self, items: Iterable[str], request: Request, uid: int) -> None:
        """Return where the caller may have these locked, and the agent may lock them.

        Raises PermissionDenied otherwise.
        """
        for item in items:
            await self.require(Action.KEEP_BACKGROUND_RUNNING, request, uid, {"inhibit": item})
            if not await self.may_lock(item):
                raise PermissionDenied(
                    f"polkit does not let the agent lock {item} on this host; leave it out of inhibit,"
                    " or have an administrator allow it (missiond(8))"
                )
            if item in OF_CALLERS:
                await self.require(OF_CALLERS[item], request, uid)

    async def may_lock(self, item: str) -> bool:
        """Whether the agent may lock it, for whomever."""
        if self._polkit is not None:
            with suppress(PolkitMissing):  # then logind decides, and `Degraded` says so
                return await self._polkit.check_own(LOCKS[item])
        return True
