# SPDX-License-Identifier: Apache-2.0
"""Tells the bus how many tasks and locks there are, once in a turn of the loop at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from missiond.daemon.tasks.leases import Leases


def counts(leases: Leases) -> dict[str, Any]:
    """Return the counting properties of org.missiond.Agent1.Manager."""
    return {
        "TransientTasks": len(leases.transient),
        "ContinuousTasks": len(leases.continuous),
        "SuspendedTasks": leases.continuous.suspended,
        "LocksHeld": leases.keeper.count,
    }


class Counts:
    """Watch on the counts: `changed` is called with the names of different ones."""

    def __init__(self, leases: Leases, changed: Callable[..., None]) -> None:
        self._leases = leases
        self._changed = changed
        self._told = counts(leases)
        self._soon: asyncio.Handle | None = None

    def touch(self) -> None:
        """Something may have changed."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._soon = None
        before, self._told = self._told, counts(self._leases)
        names = [name for name, value in self._told.items() if value != before[name]]
        if names:
            self._changed(*names)
