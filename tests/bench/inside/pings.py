# SPDX-License-Identifier: Apache-2.0
"""Pings the agent and logind by turns.

For each line of input it prints as JSON the nanoseconds that those since the last line took.
"""

from __future__ import annotations

import json
import select
import sys
from time import perf_counter_ns

from bench.inside.sdbus import LOGIND, TASKS, Bus

PEER = b"org.freedesktop.DBus.Peer"
PERIOD = 0.003


def main() -> None:
    """Ping until the input ends."""
    bus = Bus()
    times: dict[str, list[int]] = {"agent": [], "logind": []}
    while True:
        for name, service in (("agent", TASKS), ("logind", LOGIND)):
            begun = perf_counter_ns()
            bus.call((*service[:2], PEER), b"Ping", b"")
            times[name].append(perf_counter_ns() - begun)
        if select.select([sys.stdin], [], [], PERIOD)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps(times), flush=True)
            for each in times.values():
                each.clear()


main()
