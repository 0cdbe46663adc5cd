# SPDX-License-Identifier: Apache-2.0
"""What every task has in common, and why it can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from missiond.core.json_types import BootTime
from missiond.core.schema import Unwritten
from missiond.core.tasks.locks import LockSpec
from missiond.core.tasks.owner import App, Owner


class Cause(Enum):
    """Why a lease ended; the value is what SuspendDelayEnded says.

    STOPPED is the application's own end of a continuous task, CANCELLED that of a transient one, or a
    user's of either. RESTART_FAILED is of continuous tasks only.
    """

    CANCELLED = "cancelled"
    STOPPED = "stopped"
    EXPIRED = "expired"
    OWNER_EXITED = "owner-exited"
    BATTERY_LOW = "battery-low"
    BATTERY_CRITICAL = "battery-critical"
    RESTART_FAILED = "restart-failed"


@dataclass(slots=True, kw_only=True)
class Lease:
    """A hold on the host that belongs to a process.

    `requester` is the application that asked, which differs from the owner's where `pid` was given.
    `started` is in ms of the core's clock.
    """

    kind: ClassVar[str]

    id: Unwritten[int]
    owner: Owner
    requester: App
    started: BootTime

    @property
    def key(self) -> str:
        """Unique among all leases, for example `transient-7`; names the lock and the state file."""
        return f"{self.kind}-{self.id}"

    @property
    def lock(self) -> LockSpec:
        """The logind lock that stands for it."""
        raise NotImplementedError
