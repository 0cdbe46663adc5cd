# SPDX-License-Identifier: Apache-2.0
"""A directory laid out like /sys/class/power_supply."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from missiond.core.power.reading import PowerReading


class PowerSupplies:
    """Makes and changes supplies; a value of None makes no file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def set(self, name: str, **files: object) -> None:
        """Write files of one supply."""
        place = self.root / name
        place.mkdir(exist_ok=True)
        for file, value in files.items():
            path = place / file
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            if isinstance(value, bytes):
                path.write_bytes(value)
            elif value is not None:
                path.write_text(f"{value}\n")

    def battery(self, name: str = "BAT0", status: str = "Discharging", **files: object) -> None:
        """Write a battery of the host."""
        self.set(name, type="Battery", present=1, status=status, **files)

    def mains(self, *, online: object, name: str = "ADP1") -> None:
        """Write an external supply."""
        self.set(name, type="Mains", online=online)

    def remove(self, name: str) -> None:
        """Take a supply away."""
        shutil.rmtree(self.root / name)


def on_battery(percent: float | None) -> PowerReading:
    """Make the reading of a host without external power."""
    return PowerReading(present=True, percent=percent, external=False, discharging=True)


def silent(percent: float | None) -> PowerReading:
    """Make the reading of a host whose battery does not tell; `percent` is what it last told."""
    return replace(on_battery(percent), told=False)


def on_mains(percent: float | None) -> PowerReading:
    """Make the reading of a host with a battery and external power."""
    return PowerReading(present=True, percent=percent, external=True, discharging=False)
