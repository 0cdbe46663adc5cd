# SPDX-License-Identifier: Apache-2.0
"""Another user who calls all the time and measures how long it takes: probe.

For each line of input it prints, as JSON, the calls since the last: how many, their errors, and milliseconds.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter

from hosts.crowd.wire_client import TASKS, Client, outcome

PERIOD = 0.01


def _report(times: list[float], errors: Counter[str]) -> None:
    times.sort()
    cut = {f"p{part}": times[min(len(times) - 1, len(times) * part // 100)] for part in (50, 99)}
    print(json.dumps({"calls": len(times), "errors": errors, **cut, "max": times[-1]}), flush=True)


def main() -> None:
    """Ask, grant, cancel, by turns."""
    client = Client()
    times: list[float] = []
    errors: Counter[str] = Counter()
    while True:
        begun = time.perf_counter()
        answer = client.call(TASKS, "RequestSuspendDelay", "sa{sv}", ("probe", {}))
        granted = time.perf_counter()
        times.append((granted - begun) * 1000)
        name = outcome(answer)
        if not name:
            name = outcome(client.call(TASKS, "CancelSuspendDelay", "u", (answer.body[0],)))
            times.append((time.perf_counter() - granted) * 1000)
        if name:
            errors[name] += 1
        ready, _, _ = select.select([sys.stdin], [], [], PERIOD)
        if ready:
            if not sys.stdin.readline():
                return
            _report(times, errors)
            times, errors = [], Counter()


main()
