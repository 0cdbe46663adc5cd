# SPDX-License-Identifier: Apache-2.0
"""/sys/class/power_supply, read so that nothing in it can do harm (sysfs-class-power in the kernel's ABI).

Drivers leave files out, return errors from them, and report nonsense for a moment after resume; a supply can
vanish while it is read. Whatever can't be used is None here.
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
_LINES = ("mains", "usb", "wireless", "brickid")
_OVERFULL = 1.1
"""A worn gauge may overshoot a little; more than this is not a charge."""


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
    """A battery that powers this host. `status` is lower case, "" where it can't be read."""

    name: str
    status: str
    charge: Charge | None


@dataclass(frozen=True, slots=True)
class Supplies:
    """All that power this host; `lines_online` has one entry for each external one, None where unknown."""

    batteries: tuple[BatterySupply, ...]
    lines_online: tuple[bool | None, ...]


def read_supplies(root: Path = SYSFS) -> Supplies:
    """Read all supplies of this host; those of its mice and keyboards (scope "Device") are left out.

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
                batteries.append(BatterySupply(name, _text(place / "status").lower(), _charge(place)))
        elif kind.startswith(_LINES):
            online = _number(place / "online")
            lines.append(None if online is None or online < 0 else online > 0)
    return Supplies(tuple(batteries), tuple(lines))


def charge(now: float | None, full: float | None, unit: str) -> Charge | None:
    """Make a charge of two numbers; None where they can't be one."""
    if now is None or full is None or full <= 0 or not 0 <= now <= full * _OVERFULL:
        return None
    return Charge(min(now, full), full, unit)


def _charge(place: Path) -> Charge | None:
    """Take the finest measure that makes sense."""
    for unit in ("energy", "charge"):
        found = charge(_number(place / f"{unit}_now"), _number(place / f"{unit}_full"), unit)
        if found is not None:
            return found
    return charge(_number(place / "capacity"), 100, "capacity")


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
