# SPDX-License-Identifier: Apache-2.0
"""Missions that go on at the other one of two hosts, as their users see them."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts.machine import MANAGER, Host
from hosts.people import MISSIONS, missions
from hosts.spawned import Spawned

HERE = Path(__file__).parent
COUNTER, UNAWARE, SLOW = "/usr/local/bin/counter", "/usr/local/bin/unaware", "/usr/local/bin/slow"
LARGE = "/usr/local/bin/large"
SLOWLY = "#!/bin/sh\ntrap 'sleep 3; exit' TERM\nwhile :; do sleep 1; done\n"
"""What takes its time to end."""
_PATTERNS = {
    COUNTER: f"^/usr/bin/python3 {COUNTER}",
    LARGE: f"^/usr/bin/python3 {LARGE}",
    UNAWARE: "^sleep 600$",
    SLOW: f"^/bin/sh {SLOW}",
}
PATIENCE = 40.0
UNITS = ["env", "XDG_RUNTIME_DIR=/run/user/1000", "systemctl", "--user"]


class Going:
    """A call of ContinueMission, and what its caller is told."""

    def __init__(self, host: Host, source: str, target: str, which: object, **want: object) -> None:
        words = ["python3", "/tmp/go_on.py", source, target, str(which), json.dumps(want)]
        self._process = host.spawn(words)
        self._lines: queue.Queue[list[Any] | None] = queue.Queue()
        self.said: list[list[Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def until(self, *words: str) -> list[Any]:
        """Wait for a line that begins with one of these, and return it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no {words}: {self.said}")
            self.said.append(line)
            if line[0] in words:
                return line

    def end(self) -> tuple[int, str]:
        """Wait for its end; the code, which was said once, and why."""
        line = self.until("ended", "refused")
        if line[0] == "refused":
            return int(line[1]), str(line[2])
        why = [said[3] for said in self.said if len(said) == 5]
        while (more := self._lines.get(timeout=5)) is not None:
            assert more[0] != "ended", "ContinueDone was said twice"
        return int(line[2]), str(why[-1]) if why else ""


def listed(host: Host) -> list[dict[str, Any]]:
    """ListContinuations, without the types."""
    (rows,) = host.call(*MANAGER, MISSIONS, "ListContinuations")
    return [{key: value["data"] for key, value in row.items()} for row in rows]


def running(host: Host, program: str = COUNTER) -> list[int]:
    """Pids of alice's processes of a program; the one that knows nothing of it becomes sleep(1)."""
    found = host.run(["pgrep", "-u", "alice", "-f", _PATTERNS[program]], check=False)
    return [int(pid) for pid in found.stdout.split()]


def of(host: Host, program: str = COUNTER) -> int:
    """Wait until its mission is there and can go on elsewhere; the id."""
    found: list[int] = []

    def there() -> bool:
        pids = running(host, program)
        found[:] = [m.id for m in missions(host, None) if m.pid in pids and m.continuable]
        return len(found) == 1

    try:
        host.wait_for(there, 15)
    except TimeoutError:
        raise AssertionError(f"{missions(host, None)}, {running(host, program)}") from None
    return found[0]


def count(host: Host, *words: str) -> Spawned:
    """Start a counter of alice's, as a program of hers would be."""
    return host.spawn(["/usr/bin/python3", COUNTER, "--seconds", *words], user="alice")


def counted(host: Host) -> list[int]:
    """What counters that were started to go on here have printed; the first is what they were handed."""
    lines = host.run(["journalctl", "--no-pager", "--output=cat", "_UID=1000"]).stdout.split("\n")
    at = max((n for n, line in enumerate(lines) if line.startswith("from ")), default=len(lines))
    return [int(line) for line in lines[at + 1 :] if line.isdigit()]


def settle(hosts: tuple[Host, ...]) -> None:
    """Wait until nothing is in flight any more."""
    for host in hosts:
        wait(host, lambda host=host: not listed(host), "in flight")  # type: ignore[misc]


def wait(host: Host, condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Wait, and say what was seen where it does not come."""
    try:
        host.wait_for(condition, timeout)
    except TimeoutError:
        journals = host.journal("missiond.service", "--lines=40") + host.journal("missiond-peers.service")
        raise AssertionError(f"{what}: {listed(host)}\n{journals}") from None


def end_all(hosts: tuple[Host, ...]) -> None:
    """End what tests left of alice's."""
    for host in hosts:
        for program in _PATTERNS:
            for pid in running(host, program):
                host.run(["kill", "-KILL", str(pid)], check=False)
        host.wait_for(lambda host=host: not any(running(host, each) for each in _PATTERNS))  # type: ignore[misc]
        host.run([*UNITS, "reset-failed"], user="alice", check=False)
