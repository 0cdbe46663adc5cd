# SPDX-License-Identifier: Apache-2.0
"""How much memory is left, proc_meminfo(5)."""

from __future__ import annotations

import re
from pathlib import Path

_AVAILABLE = re.compile(rb"^MemAvailable: +([0-9]{1,15}) kB$", re.MULTILINE)


def available(file: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that programs can still have without swapping; None where the kernel does not say."""
    try:
        match = _AVAILABLE.search(file.read_bytes())
    except OSError:
        return None
    return None if match is None else int(match[1]) * 1024
