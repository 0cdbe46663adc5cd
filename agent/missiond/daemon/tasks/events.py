# SPDX-License-Identifier: Apache-2.0
"""Base class of observers of leases."""

from __future__ import annotations

from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask


class LeaseObserver:
    """Observer of leases without any reaction; subclasses override methods, and subscribe to Leases."""

    def added(self, lease: Lease) -> None:
        """Take up a live lease."""

    def watched(self, lease: Lease) -> None:
        """Take note of a live lease with a watched owner."""

    def changed(self, lease: Lease, *properties: str) -> None:
        """Take up new values of properties of the lease's object."""

    def expiring(self, task: TransientTask, remaining: int) -> None:
        """Take note of the end of a task in `remaining` ms."""

    def suspended(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """Take note of a suspension; `message` is a sentence for people."""

    def active(self, task: ContinuousTask) -> None:
        """Take note of the end of a suspension."""

    def ended(self, lease: Lease, cause: Cause, said: str = "") -> None:
        """Forget an ended lease; `said` is more about the cause, for people."""

    def outlives_owner(self, lease: Lease) -> bool:
        """Whether the lease stays without an owner, since another one may follow."""
        return False

    def missing(self, task: ContinuousTask) -> set[str]:
        """Return the parts of keep-alive missing for a task at this moment."""
        return set()
