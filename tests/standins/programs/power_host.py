# SPDX-License-Identifier: Apache-2.0
"""A program whose host has a battery made by umockdev (run it with libumockdev-preload.so.0 preloaded).

Drains the battery, plugs in, and takes the battery out; each time waits for the event, and prints all
readings as JSON.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
from collections.abc import Callable

from missiond.core.power.reading import PowerReading
from missiond.host.power.battery import Battery

BATTERY = "/sys/devices/LNXSYSTM:00/BAT0/power_supply/BAT0"
MAINS = "/sys/devices/LNXSYSTM:00/ADP1/power_supply/ADP1"
DESCRIPTION = r"""P: /devices/LNXSYSTM:00/BAT0/power_supply/BAT0
E: SUBSYSTEM=power_supply
A: type=Battery\n
A: present=1\n
A: status=Discharging\n
A: energy_now=10000000\n
A: energy_full=50000000\n

P: /devices/LNXSYSTM:00/ADP1/power_supply/ADP1
E: SUBSYSTEM=power_supply
A: type=Mains\n
A: online=0\n
"""


class Testbed:
    """UMockdevTestbed, as much of it as is needed here."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libumockdev.so.0")
        self._objects = ctypes.CDLL("libgobject-2.0.so.0")
        self._library.umockdev_testbed_new.restype = ctypes.c_void_p
        self._bed = ctypes.c_void_p(self._library.umockdev_testbed_new())

    def add(self, description: str) -> None:
        """Add devices."""
        assert self._library.umockdev_testbed_add_from_string(self._bed, description.encode(), None)

    def set(self, device: str, attribute: str, value: str) -> None:
        """Change an attribute."""
        self._library.umockdev_testbed_set_attribute(
            self._bed, device.encode(), attribute.encode(), f"{value}\n".encode()
        )

    def uevent(self, device: str, action: str) -> None:
        """Tell of a change."""
        self._library.umockdev_testbed_uevent(self._bed, device.encode(), action.encode())

    def remove(self, device: str) -> None:
        """Take a device away."""
        self._library.umockdev_testbed_remove_device(self._bed, device.encode())

    def close(self) -> None:
        """Remove its files."""
        self._objects.g_object_unref(self._bed)


async def run(bed: Testbed, source: str) -> list[tuple[object, ...]]:
    """Change the power supply step by step."""

    def drain() -> None:
        bed.set(BATTERY, "energy_now", "5000000")
        bed.uevent(BATTERY, "change")

    def plug_in() -> None:
        bed.set(BATTERY, "status", "Charging")
        bed.set(MAINS, "online", "1")
        bed.uevent(MAINS, "change")

    def take_out() -> None:
        bed.uevent(BATTERY, "remove")
        bed.remove(BATTERY)

    steps: tuple[Callable[[], None], ...] = (drain, plug_in, take_out)
    changed = asyncio.Event()
    battery = Battery()
    battery.watch(changed.set, source)
    assert battery.watching
    readings = [_shown(battery.read())]
    for step in steps:
        changed.clear()
        step()
        async with asyncio.timeout(5):
            await changed.wait()
        readings.append(_shown(battery.read()))
    battery.close()
    return readings


def _shown(reading: PowerReading) -> tuple[object, ...]:
    return reading.present, reading.percent, reading.external, reading.discharging


def main() -> None:
    """Print the readings."""
    bed = Testbed()
    try:
        bed.add(DESCRIPTION)
        json.dump(asyncio.run(run(bed, sys.argv[1])), sys.stdout)
    finally:
        bed.close()


if __name__ == "__main__":
    main()
