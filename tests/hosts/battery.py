# SPDX-License-Identifier: Apache-2.0
"""A host's power supplies as files: what the kernel would show in /sys/class/power_supply."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path


class PowerSupplies:
    """A directory that a host sees as /sys/class/power_supply, empty at first (no battery, no mains).

    `set()` writes attributes; it raises no event, for that see `Host.power_event()`.
    """

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="missiond-power-"))
        self.directory.chmod(0o755)

    def set(self, name: str, **attributes: object) -> None:
        """Write attributes of one supply; None takes one away."""
        supply = self.directory / name
        supply.mkdir(mode=0o755, exist_ok=True)
        for attribute, value in attributes.items():
            if value is None:
                (supply / attribute).unlink(missing_ok=True)
            else:
                self._replace(supply / attribute, f"{value}\n")

    def laptop(self, percent: int, *, plugged: bool = False) -> None:
        """Make it a laptop: BAT0 at this charge (percent of 50 Wh) and AC0, plugged in or not."""
        status = "Charging" if plugged else "Discharging"
        self.set("AC0", type="Mains", online=int(plugged))
        self.set(
            "BAT0",
            type="Battery",
            present=1,
            status=status,
            capacity=percent,
            energy_full=50_000_000,
            energy_now=500_000 * percent,
            power_now=10_000_000,
        )

    def remove(self, name: str) -> None:
        """Take one supply away."""
        shutil.rmtree(self.directory / name)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.directory)

    @staticmethod
    def _replace(file: Path, text: str) -> None:
        """Write the file so that a reader sees the old value or the new one."""
        new = file.with_name(f".{file.name}")
        new.write_text(text)
        new.chmod(0o644)
        new.rename(file)
