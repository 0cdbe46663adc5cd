# SPDX-License-Identifier: Apache-2.0
"""Leases: the common part of all tasks, and causes of ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Generic, TypeVar

from missiond.core.json_types import BootTime
from missiond.core.schema import Unwritten
from missiond.core.tasks.locks import LockSpec
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.quota import Usage
from missiond.errors import AgentError


class Cause(Enum):
    """Cause of the end of a lease, with the word of SuspendDelayEnded as value.

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
    """A hold on the host, owned by a process.

    `requester` is the application that asked, which differs from the owner's where `pid` was given.
    `started` is in ms of the core's clock.
    """

    kind: ClassVar[str]
    refusal: ClassVar[type[AgentError]]
    """Error for the caller of an impossible lease of this kind."""

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
        """The logind lock of the lease."""
        raise NotImplementedError

    @property
    def suspended(self) -> bool:
        """Whether the lease has no lock for now."""
        return False


AnyLease = TypeVar("AnyLease", bound=Lease)


class LeaseTable(Generic[AnyLease]):
    """The live leases of one kind, by id."""

    def __init__(self) -> None:
        self._live: dict[int, AnyLease] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[AnyLease]:
        return iter(list(self._live.values()))

    def __contains__(self, lease_id: object) -> bool:
        return lease_id in self._live

    def get(self, lease_id: int) -> AnyLease | None:
        """Return a live lease."""
        return self._live.get(lease_id)

    def add(self, lease: AnyLease) -> None:
        """Make the lease live."""
        self._live[lease.id] = lease

    def remove(self, lease: AnyLease) -> list[Usage]:
        """Take the lease out, and return the used quota."""
        del self._live[lease.id]
        return []
