# SPDX-License-Identifier: Apache-2.0
"""polkit's authority."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from missiond.bus.wire.message import Incoming
from standins.services.neighbour import Neighbour

CANCELLED = "org.freedesktop.PolicyKit1.Error.Cancelled"


@dataclass(frozen=True)
class Check:
    """One CheckAuthorization."""

    kind: str
    subject: dict[str, Any]
    action: str
    flags: int
    cancellation_id: str
    details: dict[str, str] = field(default_factory=dict)


class PolkitStandIn(Neighbour):
    """Allows `allowed`, for `challenged` waits for `decide` where it may ask, and denies the rest."""

    name = "org.freedesktop.PolicyKit1"
    interface = "org.freedesktop.PolicyKit1.Authority"
    methods: ClassVar[dict[str, str]] = {
        "check_authorization": "CheckAuthorization",
        "cancel_check_authorization": "CancelCheckAuthorization",
    }

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.allowed: set[str] = set()
        self.challenged: set[str] = set()
        self.checks: list[Check] = []
        """All that were answered or wait for `decide`."""
        self._asking: dict[str, Incoming] = {}

    @property
    def asking(self) -> list[str]:
        """Cancellation ids of the checks that wait for a password."""
        return list(self._asking)

    async def check_authorization(
        self,
        call: Incoming,
        subject: list[Any],
        action: str,
        details: dict[str, str],
        flags: int,
        cancellation_id: str,
    ) -> None:
        """Answer CheckAuthorization."""
        self.checks.append(Check(subject[0], subject[1], action, flags, cancellation_id, details))
        if action in self.challenged and flags & 1:
            self._asking[cancellation_id] = call
        else:
            self._decide(call, action in self.allowed, challenge=action in self.challenged)

    async def cancel_check_authorization(self, call: Incoming, cancellation_id: str) -> None:
        """Answer CancelCheckAuthorization, and the check that it cancels."""
        asking = self._asking.pop(cancellation_id, None)
        if asking is not None:
            self.connection.reply_error(asking, CANCELLED, "Operation was cancelled")
        self.connection.reply(call)

    def decide(self, *, allowed: bool) -> None:
        """Let somebody type a password, right or wrong, for all that wait for one."""
        asking, self._asking = self._asking, {}
        for call in asking.values():
            self._decide(call, allowed, challenge=False)

    def _decide(self, call: Incoming, allowed: bool, *, challenge: bool) -> None:
        self.connection.reply(call, "(bba{ss})", ((allowed, challenge and not allowed, {}),))


@asynccontextmanager
async def running_polkit(address: str) -> AsyncIterator[PolkitStandIn]:
    """Run it for as long as the block lasts."""
    polkit = PolkitStandIn(address)
    await polkit.appear()
    try:
        yield polkit
    finally:
        await polkit.vanish()
