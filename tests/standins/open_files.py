# SPDX-License-Identifier: Apache-2.0
"""What this process has open, for tests that nothing leaks."""

from __future__ import annotations

import os
from pathlib import Path

from missiond.common import blocking_io


def open_files() -> dict[int, str]:
    """Each open fd and what it leads to, but for what a thread is closing and the listing's own."""
    for thread in list(blocking_io._under_way):
        thread.join(5.0)
    found: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target != f"/proc/{os.getpid()}/fd":
            found[int(entry.name)] = target
    return found
