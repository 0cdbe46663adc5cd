# SPDX-License-Identifier: Apache-2.0
"""Why a continuous task is suspended."""

from __future__ import annotations

from enum import IntEnum

ACTIVE = 0
"""What stands for a task that is not suspended."""


class SuspendReason(IntEnum):
    """As ContinuousTaskSuspend says it; numbers under 32 are OpenHarmony's ContinuousTaskSuspendReason."""

    BATTERY_CRITICAL = 32
