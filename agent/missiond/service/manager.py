# SPDX-License-Identifier: Apache-2.0
"""org.missiond.Agent1.Manager."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import missiond
from missiond.agent.degraded import Degraded
from missiond.agent.leases import Leases
from missiond.bus.interface import Call, Interface
from missiond.core.power import Power
from missiond.errors import PermissionDenied
from missiond.service import names


class Manager(Interface):
    """The agent itself, and the host's power."""

    name = names.MANAGER

    def __init__(self, power: Power, leases: Leases, degraded: Degraded, reload: Callable[[], None]) -> None:
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
        """All properties as they are now."""
        reading = self._power.reading
        return {
            "Version": missiond.__version__,
            "Degraded": self._degraded.sentences,
            "BatteryPresent": reading.present,
            "BatteryPercent": -1.0 if reading.percent is None else float(reading.percent),
            "OnExternalPower": reading.external,
            "LowBattery": self._power.low,
            "TransientTasks": len(self._leases.transient),
            "ContinuousTasks": len(self._leases.continuous),
            "LocksHeld": self._leases.keeper.count,
        }
