# SPDX-License-Identifier: Apache-2.0
"""Looks at logind's locks all the time: sampler WHY...

For each line of input it prints, as JSON, what was seen since the last: how many samples, in how many
seconds, the longest time between two of them (ms), and for each WHY how often how many block locks with it
were there.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter

from bench.inside.sdbus import Bus

PERIOD = 0.002


class Seen:
    """What was seen since the last report."""

    def __init__(self, reasons: list[bytes]) -> None:
        self.reasons = reasons
        self.counts: list[Counter[int]] = [Counter() for _ in reasons]
        self.samples = 0
        self.longest = 0.0
        self.begun = self.last = time.monotonic()

    def look(self, bus: Bus) -> None:
        """Take one sample."""
        locks = [why for mode, why in bus.inhibitors() if mode == b"block"]
        for reason, counts in zip(self.reasons, self.counts, strict=True):
            counts[locks.count(reason)] += 1
        now = time.monotonic()
        self.longest = max(self.longest, now - self.last)
        self.last = now
        self.samples += 1

    def report(self) -> str:
        """All of it, as JSON."""
        seen = {"samples": self.samples, "seconds": self.last - self.begun, "longest": self.longest * 1e3}
        return json.dumps({**seen, "counts": [sorted(counts.items()) for counts in self.counts]})


def main() -> None:
    """Sample until the input ends."""
    bus = Bus()
    reasons = [argument.encode() for argument in sys.argv[1:]]
    seen = Seen(reasons)
    due = time.monotonic()
    while True:
        seen.look(bus)
        due = max(due + PERIOD, seen.last)
        ready, _, _ = select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))
        if ready:
            if not sys.stdin.readline():
                return
            print(seen.report(), flush=True)
            seen = Seen(reasons)


main()
