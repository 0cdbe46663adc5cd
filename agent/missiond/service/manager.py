# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.Manager."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import missiond
from missiond import bus_names
from missiond.bus.interface import Call, Interface
from missiond.core.power.level import PowerLevel
from missiond.daemon.power_watch import PowerWatch
from missiond.daemon.tasks.leases import Leases
from missiond.degraded import Degraded
from missiond.errors import PermissionDenied


class Manager(Interface):
    """Face of the agent as a whole, and of the host's power."""

    name = bus_names.MANAGER

    def __init__(
        self, power: PowerWatch, leases: Leases, degraded: Degraded, reload: Callable[[], None]
    ) -> None:
        self._power = power
        self._leases = leases
        self._degraded = degraded
        self._reload = reload

    async def reload(self, call: Call) -> None:
        """Read the configuration again; for uid 0 and the agent's own user (ExecReload=)."""
        if (await call.caller()).uid not in (0, os.geteuid()):
            raise PermissionDenied("only uid 0 may reload; use systemctl reload missiond")
        self._reload()

    def properties(self) -> dict[str, Any]:
        """Return all properties, after a look at the battery unless just done."""
        power = self._power.fresh()
        reading = power.reading
        return {
            "Version": missiond.__version__,
            "Degraded": self._degraded.sentences,
            "BatteryPresent": reading.present,
            "BatteryPercent": -1.0 if reading.percent is None else float(reading.percent),
            "OnExternalPower": reading.external,
            "LowBattery": power.low,
            "CriticalBattery": power.level is PowerLevel.CRITICAL,
            **_counts(self._leases),
        }


def _counts(leases: Leases) -> dict[str, Any]:
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
        self._told = _counts(leases)
        self._soon: asyncio.Handle | None = None

    def touch(self) -> None:
        """Something may have changed."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._soon = None
        before, self._told = self._told, _counts(self._leases)
        names = [name for name, value in self._told.items() if value != before[name]]
        if names:
            self._changed(*names)
