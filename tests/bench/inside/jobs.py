# SPDX-License-Identifier: Apache-2.0
"""Times jobs of a login session until they are told of and listed, and until they no longer are: jobs COUNT.

Prints nanoseconds as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from time import perf_counter_ns

from bench.inside.sdbus import MISSIONS, Bus

COMMAND = ["sleep", "600"]


def start() -> int:
    """Start one, in a process group of its own, as a shell does."""
    return os.posix_spawnp(COMMAND[0], COMMAND, os.environ, setpgroup=0)


def until(bus: Bus, pid: int, *, listed: bool) -> int:
    """Wait until the mission is listed or no longer is; how many signals that took."""
    signals = 0
    while True:
        bus.wait_signal(MISSIONS[2], b"MissionsChanged")
        signals += 1
        if (pid in bus.missions()) == listed:
            return signals


def main() -> None:
    """Measure."""
    bus = Bus()
    bus.call(MISSIONS, b"RegisterMissionListener", b"s", b"")
    times: dict[str, list[int]] = {"start": [], "exit": [], "signals": []}
    for _ in range(int(sys.argv[1])):
        begun = perf_counter_ns()
        pid = start()
        signals = until(bus, pid, listed=True)
        times["start"].append(perf_counter_ns() - begun)
        os.kill(pid, signal.SIGKILL)
        begun = perf_counter_ns()
        signals += until(bus, pid, listed=False)
        times["exit"].append(perf_counter_ns() - begun)
        times["signals"].append(signals)
        os.waitpid(pid, 0)
    print(json.dumps(times))


main()
