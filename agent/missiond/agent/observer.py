# SPDX-License-Identifier: Apache-2.0
"""Who is told what happens to leases."""

from __future__ import annotations

from typing import Protocol

from missiond.core.continuous import ContinuousTask
from missiond.core.lease import Cause, Lease
from missiond.core.transient import TransientTask


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

    def ended(self, lease: Lease, cause: Cause) -> None:
        """A lease is over."""
        ...


class Guard(Protocol):
    """What looks after the owners of continuous tasks."""

    def began(self, task: ContinuousTask) -> None:
        """The task is live, or goes on after a restart of the agent."""
        ...

    def ended(self, task: ContinuousTask) -> None:
        """The task is over."""
        ...
