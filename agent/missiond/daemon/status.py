# SPDX-License-Identifier: Apache-2.0
"""The line of `systemctl status` (STATUS= in sd_notify(3))."""

from __future__ import annotations

from missiond.core.power.level import Power, PowerLevel
from missiond.daemon.tasks.leases import Leases
from missiond.degraded import Degraded


def status_line(leases: Leases, power: Power, degraded: Degraded, peers: str) -> str:
    """Return a line on locks, power, peers and missing neighbours."""
    suspended = leases.continuous.suspended
    note = f" ({suspended} suspended)" if suspended else ""
    counts = (
        _count(len(leases.transient), "transient task"),
        _count(len(leases.continuous), "continuous task") + note,
        _count(leases.keeper.count, "lock") + " held",
    )
    parts = [", ".join(counts), _power_text(power), f"peers: {peers}"]
    if degraded:
        parts.append("degraded: " + "; ".join(degraded.sentences))
    return "; ".join(parts)


def _power_text(power: Power) -> str:
    reading = power.reading
    if not reading.present:
        return "no battery"
    percent = "unknown charge" if reading.percent is None else f"{reading.percent:.0f} %"
    level = power.level
    source = "on external power" if reading.external else "on battery"
    # A charger that is too weak is no reason to be silent about the level.
    told = "" if reading.external and level is PowerLevel.NORMAL else f", {level.value}"
    return f"{percent}, {source}{told}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
