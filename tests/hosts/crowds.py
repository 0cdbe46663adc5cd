# SPDX-License-Identifier: Apache-2.0
"""The programs of hosts/crowd, run inside a host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hosts.client import main_pid
from hosts.machine import Host
from hosts.spawned import Spawned

SERVICE = "missiond.service"
BIND = [f"--bind-ro={Path(__file__).parent / 'crowd'}:/mnt/crowd/hosts/crowd"]
"""Options of a host that these programs can be run in."""


def script(program: str, *arguments: str) -> list[str]:
    """The command that runs one."""
    return ["env", "PYTHONPATH=/mnt/crowd", "python3", "-m", f"hosts.crowd.{program}", *arguments]


def inside(host: Host, program: str, *arguments: str, user: str | None = "alice", timeout: float = 80) -> Any:
    """Run one to its end; what it prints."""
    return json.loads(host.run(script(program, *arguments), user=user, timeout=timeout).stdout)


class Beside:
    """One that runs in the background and reports when it is asked."""

    def __init__(self, host: Host, program: str, *arguments: str, user: str | None) -> None:
        self._process: Spawned = host.spawn(script(program, *arguments), user=user)

    def report(self) -> Any:
        """What it saw since the last report."""
        self._process.stdin.write("\n")
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.close()


def open_fds(host: Host, unit: str = SERVICE) -> int:
    """How many file descriptors the main process of a unit has."""
    return len(host.run(["ls", f"/proc/{main_pid(host, unit)}/fd"]).stdout.split())


def resident(host: Host, unit: str = SERVICE) -> int:
    """KiB that it takes."""
    status = host.run(["cat", f"/proc/{main_pid(host, unit)}/status"]).stdout.splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
