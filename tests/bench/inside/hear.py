# SPDX-License-Identifier: Apache-2.0
"""Listens to the missions of a device ("" is this host): hear DEVICE.

Prints "ready", then the time of each MissionsChanged (ns of CLOCK_MONOTONIC, which containers share).
"""

from __future__ import annotations

import contextlib
import sys
from time import monotonic_ns

from bench.inside.sdbus import MISSIONS, Bus, CallError


def main() -> None:
    """Listen until the end."""
    bus = Bus()
    bus.call(MISSIONS, b"RegisterMissionListener", b"s", sys.argv[1].encode())
    print("ready", flush=True)
    while True:
        with contextlib.suppress(CallError):  # nothing for a while
            bus.wait_signal(MISSIONS[2], b"MissionsChanged", 600)
            print(monotonic_ns(), flush=True)


main()
