# SPDX-License-Identifier: Apache-2.0
"""Starts short-lived programs at an even pace, with some among them that stay: storm COUNT SECONDS AGENT.

Prints as JSON: how many were started in how many seconds, how many stay, the share of one processor that the
agent took meanwhile, and the ms from the last start until exactly those that stay are listed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from bench.inside.sdbus import Bus

EVERY = 100
"""One of so many stays."""
PATIENCE = 30.0


def cpu_s(agent: int) -> float:
    """CPU time of the agent until now."""
    words = Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def start(*command: str) -> int:
    """Start one in a process group of its own."""
    return os.posix_spawnp(command[0], command, os.environ, setpgroup=0)


def storm(count: int, seconds: float) -> set[int]:
    """Start them all; those that stay."""
    staying = set()
    begun = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, begun + index * seconds / count - time.monotonic()))
        if index % EVERY == 0:
            staying.add(start("sleep", "600"))
        else:
            start("true")
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
            pass
    return staying


def main() -> None:
    """Measure."""
    count, seconds, agent = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    bus = Bus()
    before = bus.missions()
    cpu, begun = cpu_s(agent), time.monotonic()
    staying = storm(count, seconds)
    ended = time.monotonic()
    cpu = cpu_s(agent) - cpu
    while bus.missions() - before != staying and time.monotonic() < ended + PATIENCE:
        time.sleep(0.01)
    caught_up = time.monotonic() - ended
    lost = len(staying - bus.missions())
    for pid in staying:
        os.kill(pid, signal.SIGKILL)
    took = ended - begun
    print(json.dumps({
        "started": count, "seconds": took, "staying": len(staying), "lost": lost,
        "share": cpu / took, "caught_up_ms": caught_up * 1000,
    }))  # fmt: skip


main()
