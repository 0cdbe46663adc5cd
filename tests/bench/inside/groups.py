# SPDX-License-Identifier: Apache-2.0
"""Makes control groups of alice's: groups KIND COUNT.

Prints "made" once they are made; a line of input has them removed, after which it prints "removed".  KIND is
scopes, services, slices, within (one scope), or terminals: something runs in each while programs start.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

APPS = Path("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice")
COMMAND = ["sleep", "100000"]
STARTS, PAUSE = 300, 0.01
NAMES = {
    "scopes": "u{}.scope",
    "services": "u{}.service",
    "slices": "u{}.slice",
    "within": "many.scope/c{}",
    "terminals": "vte-spawn-{}.scope",
}


def run_in(group: Path) -> int:
    """Start something in a control group."""
    pid = os.posix_spawnp(COMMAND[0], COMMAND, os.environ, setpgroup=0)
    (group / "cgroup.procs").write_text(str(pid))
    return pid


def end(pid: int) -> None:
    """End it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def make(kind: str, count: int, pids: list[int]) -> Iterator[Path]:
    """Make them."""
    if kind == "within":
        (APPS / "many.scope").mkdir()
        pids.append(run_in(APPS / "many.scope"))
    for number in range(count):
        group = APPS / NAMES[kind].format(number)
        group.mkdir()
        if kind == "terminals":
            pids.append(run_in(group))
        yield group


def main() -> None:
    """Make, wait, remove."""
    kind, count = sys.argv[1], int(sys.argv[2])
    APPS.mkdir(parents=True, exist_ok=True)
    pids: list[int] = []
    made = list(make(kind, count, pids))
    for _ in range(STARTS if kind == "terminals" else 0):
        end(run_in(made[-1]))
        time.sleep(PAUSE)  # how often programs start
    print("made", flush=True)
    sys.stdin.readline()
    for pid in pids:
        end(pid)
    for group in [*made, *([APPS / "many.scope"] if kind == "within" else [])]:
        while True:
            try:
                group.rmdir()
                break
            except OSError:  # what was killed has not left yet
                time.sleep(0.01)
    print("removed", flush=True)
    sys.stdin.readline()


main()
