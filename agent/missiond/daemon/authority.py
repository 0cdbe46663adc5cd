# SPDX-License-Identifier: Apache-2.0
"""Permissions of callers: all for uid 0, polkit's answer for others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import Enum
from types import MappingProxyType

from missiond.bus.interface import Call, Caller
from missiond.errors import DENIED_BY_POLKIT, PermissionDenied
from missiond.host.polkit import Polkit, PolkitMissing

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
"""Actions of logind the agent needs for the items of tasks."""

OF_CALLERS = {"handle-lid-switch": Action.INHIBIT_HANDLE_LID_SWITCH}
"""Actions a caller needs for items logind gives only to users at the host."""


class Authority:
    """Asks polkit about the sender's bus name, never about a pid (CVE-2025-67859)."""

    def __init__(self, polkit: Polkit | None, person_of: Callable[[int], int] = lambda uid: uid) -> None:
        """With None (the session bus, where everybody is the same user) everything is allowed.

        `person_of` tells from a uid who it is that has it: somebody may have thousands (subuid(5)).
        """
        self._polkit = polkit
        self._person_of = person_of

    async def require(
        self, action: Action, call: Call, uid: int, details: Mapping[str, str] = _NO_DETAILS
    ) -> None:
        """Return where the caller may; raise PermissionDenied otherwise.

        Raises TransactionFailed where too many of a person's calls wait, SystemServiceFailed where polkit
        can't be asked.
        """
        if uid == 0 or self._polkit is None:
            return
        try:
            allowed = await self._polkit.check(
                action.value,
                call.sender,
                interactive=call.interactive,
                details=details,
                person=self._person_of(uid),
            )
        except PolkitMissing:
            raise PermissionDenied("this host has no polkit, so only uid 0 may; install polkitd") from None
        if not allowed:
            raise PermissionDenied(f"{DENIED_BY_POLKIT}{action.value} to this caller; see polkit(8)")

    async def sees_all(self, call: Call, caller: Caller) -> bool:
        """Whether a caller sees everything: uid 0, and interactive callers with manage-others."""
        if caller.uid == 0 or not call.interactive:
            return caller.uid == 0
        try:
            await self.require(Action.MANAGE_OTHERS, call, caller.uid)
        except PermissionDenied:
            return False
        return True

    async def require_locks(self, items: Iterable[str], call: Call, uid: int) -> None:
        """Return where both the caller and the agent may lock these items.

        Raises PermissionDenied otherwise.
        """
        for item in items:
            await self.require(Action.KEEP_BACKGROUND_RUNNING, call, uid, {"inhibit": item})
            if not await self.may_lock(item):
                raise PermissionDenied(
                    f"polkit does not let the agent lock {item} on this host; leave it out of inhibit,"
                    " or have an administrator allow it (missiond(8))"
                )
            if item in OF_CALLERS:
                await self.require(OF_CALLERS[item], call, uid)

    async def may_lock(self, item: str) -> bool:
        """Whether the agent may lock an item, for any caller."""
        if self._polkit is not None:
            with suppress(PolkitMissing):  # then logind decides, and `Degraded` says so
                return await self._polkit.check_own(LOCKS[item])
        return True
