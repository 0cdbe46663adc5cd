# SPDX-License-Identifier: Apache-2.0
"""How many examples a property is tried with: MISSIOND_EXAMPLES is per cent of what the suites try."""

from __future__ import annotations

import os

SHARE = int(os.environ.get("MISSIOND_EXAMPLES", "100"))


def examples(usual: int) -> int:
    """Return as many of the usual number as are wanted, and at least one."""
    return max(1, usual * SHARE // 100)
