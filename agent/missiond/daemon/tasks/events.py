# SPDX-License-Identifier: Apache-2.0
"""Base class of everything that hears what happens to leases."""

from __future__ import annotations

from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask


class LeaseObserver:
    """Hears nothing by itself: subclasses override what they need, and subscribe with `Leases.subscribe`."""

    def added(self, lease: Lease) -> None:
        """Take up a live lease."""

    def watched(self, lease: Lease) -> None:
        """Take note that the end of the lease's owner is noticed from now on."""

    def changed(self, lease: Lease, *properties: str) -> None:
        """Take up new values of properties of the lease's object."""

    def expiring(self, task: TransientTask, remaining: int) -> None:
        """Take note that the task ends in `remaining` ms."""

    def suspended(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """Take note that the task has no lock for now; `message` is a sentence for people."""

    def active(self, task: ContinuousTask) -> None:
        """Take note that the task is suspended no more."""

    def ended(self, lease: Lease, cause: Cause, said: str = "") -> None:
        """Forget a lease that is over; `said` is more about the cause, for people."""

    def outlives_owner(self, lease: Lease) -> bool:
        """Whether another owner may follow the one that is gone, so that the lease stays."""
        return False

    def missing(self, task: ContinuousTask) -> set[str]:
        """Return parts of keep-alive that can't be done for the task at this moment."""
        return set()
