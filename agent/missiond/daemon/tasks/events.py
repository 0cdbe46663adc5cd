# SPDX-License-Identifier: Apache-2.0
"""Who is told what happens to leases."""

from __future__ import annotations

from typing import Protocol

from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.core.tasks.transient import TransientTask


class Observer(Protocol):
    """The bus, as the application sees it."""

    def added(self, lease: Lease) -> None:
        """A lease is live."""
        ...

    def changed(self, lease: Lease, *properties: str) -> None:
        """These properties of its object have new values."""
        ...

    def expiring(self, task: TransientTask, remaining: int) -> None:
        """The task ends in `remaining` ms."""
        ...

    def failed(self, task: ContinuousTask, said: str) -> None:
        """The task ends next, and this is why."""
        ...

    def suspended(self, task: ContinuousTask, reason: SuspendReason, message: str) -> None:
        """The task has no lock for now, and this is why."""
        ...

    def active(self, task: ContinuousTask) -> None:
        """The task is suspended no more."""
        ...

    def ended(self, lease: Lease, cause: Cause) -> None:
        """A lease is over."""
        ...


class Guard(Protocol):
    """What looks after the owners of continuous tasks."""

    def began(self, task: ContinuousTask) -> None:
        """The task is live, or goes on after a restart of the agent."""
        ...

    async def covered(self, task: ContinuousTask) -> None:
        """Return once the owner of a task that has begun was seen to, or after a few seconds."""
        ...

    def missing(self, task: ContinuousTask) -> set[str]:
        """Parts of keep-alive that could not be done for the task."""
        ...

    def ended(self, task: ContinuousTask) -> None:
        """The task is over."""
        ...

    async def settle(self) -> None:
        """Return once all that was begun is done."""
        ...


class Reviver(Protocol):
    """What waits for services that are started again."""

    def died(self, task: ContinuousTask) -> bool:
        """The owner is gone; whether another may follow, so that the task goes on."""
        ...

    def missing(self, task: ContinuousTask) -> set[str]:
        """Parts of keep-alive that can't be done for the task at this moment."""
        ...

    def ended(self, task: ContinuousTask) -> None:
        """The task is over."""
        ...
