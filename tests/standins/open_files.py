# SPDX-License-Identifier: Apache-2.0
"""What this process has open, for tests that nothing leaks."""

from __future__ import annotations

import os
from pathlib import Path


def open_files() -> dict[int, str]:
    """Each open fd and what it leads to, without the one that the listing itself needs."""
    found: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target != f"/proc/{os.getpid()}/fd":
            found[int(entry.name)] = target
    return found
