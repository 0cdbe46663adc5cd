# SPDX-License-Identifier: Apache-2.0
"""The battery: psutil for the percentage, sysfs for all else, udev for the moment of a change.

`psutil.sensors_battery()` looks at the first battery only, takes that of a mouse for the host's, knows
external power by the names AC and AC0 alone, and raises on files that a driver fills with nonsense. So the
supplies themselves are read here, and psutil's figure is taken where the one battery that it looks at is the
only one of the host and the files bear it out.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from missiond.core.power.reading import MAINS, PowerReading
from missiond.host.power.events import PowerEvents, event_sources
from missiond.host.power.supply import SYSFS, BatterySupply, Charge, Supplies, charge, read_supplies

_LOGGER = logging.getLogger(__name__)
_FED = ("charging", "full", "not charging")
"""Statuses of a battery that means an external supply (sysfs-class-power)."""

_SAME = 1.0
"""Percentage points by which a charge may change between two looks at it."""

_UNKNOWN = PowerReading(present=True, percent=None, external=False, discharging=True, told=False)

Charges = tuple[Charge, ...]


class Battery:
    """The power supply of the host, read on demand; the last sensible charge is remembered."""

    def __init__(self, root: Path = SYSFS) -> None:
        self._root = root
        self._known: dict[str, Charges] = {}
        self._events: list[PowerEvents] = []
        self._failed = False

    def read(self) -> PowerReading:
        """Read the supplies now; never raises. Unknown figures are told so as to grant nobody more.

        A battery whose charge can't be read keeps its last one; `told` is false where none could be read.
        `percent` is None where no battery has ever told one. Blocks for as long as the drivers take (a few
        ms at most, as they keep their last values).
        """
        try:
            supplies = read_supplies(self._root)
        except OSError as error:
            if not self._failed:
                _LOGGER.warning("can't read %s: %s", self._root, error)
            self._failed = True
            return _UNKNOWN
        self._failed = False
        charges = self._charges(supplies.batteries)
        return reading(supplies, charges)

    def watch(self, callback: Callable[[], None], source: str | None = None) -> None:
        """Call back from the running loop whenever a reading may differ from the last.

        `source` is "udev" or "kernel" (default: all that this host has). Where none can be had nothing is
        raised, `watching` is false, and changes show at the next `read`.
        """
        self.close()
        self._events = [PowerEvents(callback, each) for each in ([source] if source else event_sources())]

    @property
    def watching(self) -> bool:
        """Whether changes will be heard of."""
        return any(events.active for events in self._events)

    def close(self) -> None:
        """Stop watching."""
        for events in self._events:
            events.close()
        self._events.clear()

    def _charges(self, batteries: tuple[BatterySupply, ...]) -> dict[str, Charges]:
        """Charge of each battery that tells or ever told one; what is gone is forgotten."""
        found: dict[str, Charges] = {}
        for battery in batteries:
            now = battery.charges
            if len(batteries) == len(now) == 1:
                now = (_from_psutil(self._root, battery.name, now[0]) or now[0],)
            now = now or self._known.get(battery.name, ())
            if now:
                found[battery.name] = now
        self._known = found
        return found


def reading(supplies: Supplies, charges: Mapping[str, Charges]) -> PowerReading:
    """Make one reading of all supplies; `charges` has the batteries with a known charge.

    Mains and USB supplies say whether there is external power; where the host shows none of them, the
    statuses of the batteries do. A battery that says that it discharges does so whatever is connected: a
    port may be stale, feed something else, or give less than the host takes. A status that can't be read
    counts as discharging without external power.
    """
    if not supplies.batteries:
        return MAINS
    statuses = [battery.status for battery in supplies.batteries]
    fed = _are_fed(statuses)
    external = any(supplies.lines_online) if supplies.lines_online else fed
    if "discharging" in statuses:
        discharging = not (external and "charging" in statuses)
    else:
        discharging = not external and not fed
    percent = combined([measured[0] for measured in charges.values()])
    most = combined([measured[-1] for measured in charges.values()])
    # One of several may stay silent for good, as an empty one does, and the others count all the same.
    told = any(battery.charges for battery in supplies.batteries)
    return PowerReading(True, percent, external, discharging, None if most == percent else most, told)


def _are_fed(statuses: list[str]) -> bool:
    if "discharging" in statuses:
        return False
    return "charging" in statuses or all(status in _FED for status in statuses)


def combined(charges: list[Charge]) -> float | None:
    """Percentage of all batteries together, 0 to 100; None where none is known.

    By energy where all tell it, else by charge, else the mean of the percentages.
    """
    if not charges:
        return None
    for unit in ("energy", "charge"):
        if all(one.unit == unit for one in charges):
            return 100.0 * sum(one.now for one in charges) / sum(one.full for one in charges)
    return sum(one.percent for one in charges) / len(charges)


def _from_psutil(root: Path, name: str, own: Charge) -> Charge | None:
    """Ask psutil, where it looks at this very battery.

    None where it does not, does not know, or took for a number what `own` shows to be none.
    """
    try:
        # Only hosts with a battery pay for the import.
        import psutil  # noqa: PLC0415
        from psutil import _pslinux  # noqa: PLC0415

        if Path(_pslinux.POWER_SUPPLY_PATH) != root:
            return None
        seen = [entry for entry in os.listdir(root) if entry.startswith("BAT") or "battery" in entry.lower()]  # noqa: PTH208
        if min(seen, default=None) != name:
            return None
        battery = psutil.sensors_battery()
    # psutil computes with whatever the files hold.
    except (ImportError, AttributeError, OSError, ValueError, TypeError, ArithmeticError):
        return None
    percent = getattr(battery, "percent", None)
    if not isinstance(percent, int | float) or not abs(percent - own.percent) <= _SAME:
        return None
    return charge(percent, 100, "capacity")
