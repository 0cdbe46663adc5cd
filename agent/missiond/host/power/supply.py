# SPDX-License-Identifier: Apache-2.0
"""/sys/class/power_supply, read with nothing trusted (sysfs-class-power in the kernel's ABI).

Drivers leave files out, return errors from them, and report nonsense for a moment after resume; a supply can
vanish while it is read. Whatever can't be used is None here, or left out.

Gauges that count `capacity` by themselves (Apple, SBS, bq27xxx) differ from what energy or charge say, which
may be stale or scaled wrongly: a little is the gauge's better knowledge, much is a doubt that stays one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

SYSFS = Path("/sys/class/power_supply")

_MOST = 256
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_BATTERIES = ("battery", "ups")
_NO_STATUS = ("unknown", "")
_LINES = ("mains", "usb", "wireless", "brickid")
_OVERFULL = 1.1
"""A worn gauge may overshoot a little; more than this is not a charge."""

_SAME = 1.0
"""Percentage points that rounding makes; the finer measure is taken."""

_APART = 10.0
"""Percentage points from which two measures of a battery contradict each other."""


@dataclass(frozen=True, slots=True)
class Charge:
    """How full a battery is, in `unit`: "energy" (µWh), "charge" (µAh) or "capacity" (percent)."""

    now: float
    full: float
    unit: str

    @property
    def percent(self) -> float:
        """0 to 100."""
        return min(100.0, 100.0 * self.now / self.full)


@dataclass(frozen=True, slots=True)
class BatterySupply:
    """A battery of this host. `status` is lower case, "" where unreadable.

    `charges` is empty where it does not tell its charge, and has the lower and the higher one where its
    measures contradict each other.
    """

    name: str
    status: str
    charges: tuple[Charge, ...]


@dataclass(frozen=True, slots=True)
class Supplies:
    """All supplies of this host; `lines_online` has one entry for each external one, None: unknown.

    A port that says itself that it discharges feeds something else, and is not online.
    """

    batteries: tuple[BatterySupply, ...]
    lines_online: tuple[bool | None, ...]


def read_supplies(root: Path = SYSFS) -> Supplies:
    """Read all supplies of this host, without mice and keyboards (scope "Device").

    Raises OSError where the directory is there but can't be listed; without the directory there are none.
    """
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208
    except FileNotFoundError:
        names = []
    batteries: list[BatterySupply] = []
    lines: list[bool | None] = []
    for name in names:
        place = root / name
        if _text(place / "scope").lower() == "device":
            continue
        kind = _text(place / "type").lower()
        if kind in _BATTERIES or (not kind and _looks_like_battery(place)):
            if _number(place / "present") != 0:
                batteries.append(_battery(place))
        elif kind.startswith(_LINES):
            lines.append(_is_online(place))
    return Supplies(tuple(batteries), tuple(lines))


def charge(now: float | None, full: float | None, unit: str) -> Charge | None:
    """Make a charge of two numbers; None where the numbers make none."""
    if now is None or full is None or full <= 0 or not 0 <= now <= full * _OVERFULL:
        return None
    return Charge(min(now, full), full, unit)


def _battery(place: Path) -> BatterySupply:
    status = _text(place / "status").lower()
    counted, gauge = _counted(place), charge(_number(place / "capacity"), 100, "capacity")
    if status in _NO_STATUS:
        # Without a status 0 is what drivers say while they know nothing, as after resume.
        counted, gauge = _unless_empty(counted), _unless_empty(gauge)
    return BatterySupply(place.name, status, measures(counted, gauge))


def _unless_empty(measure: Charge | None) -> Charge | None:
    return measure if measure is not None and measure.now > 0 else None


def measures(counted: Charge | None, gauge: Charge | None) -> tuple[Charge, ...]:
    """Return the charge by energy or charge counters and by the gauge, where both agree on one."""
    if counted is None or gauge is None:
        return tuple(one for one in (counted, gauge) if one is not None)
    apart = abs(counted.percent - gauge.percent)
    if apart <= _SAME:
        return (counted,)
    by_gauge = Charge(gauge.percent * counted.full / 100, counted.full, counted.unit)
    # Counters that are not kept are 0; no gauge would tell more than _APART then.
    if apart <= _APART or counted.now == 0:
        return (by_gauge,)
    return tuple(sorted((counted, by_gauge), key=lambda one: one.now))


def _counted(place: Path) -> Charge | None:
    """Take the finest measure that makes sense."""
    for unit in ("energy", "charge"):
        found = charge(_number(place / f"{unit}_now"), _number(place / f"{unit}_full"), unit)
        if found is not None:
            return found
    return None


def _is_online(place: Path) -> bool | None:
    online = _number(place / "online")
    if online is None or online < 0:
        return None
    return online > 0 and _text(place / "status").lower() != "discharging"


def _looks_like_battery(place: Path) -> bool:
    """Whether a supply whose type can't be read is to be taken for a battery, to be on the safe side."""
    return place.name.startswith("BAT") and place.is_dir()


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if _NUMBER.fullmatch(text) else None


def _text(file: Path) -> str:
    """Content of a sysfs file, which is one line of ASCII; "" where it is not or can't be read."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.read(fd, _MOST).decode("ascii").strip()
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return ""
