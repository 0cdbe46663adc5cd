# SPDX-License-Identifier: Apache-2.0
"""Why a continuous task is suspended."""

from __future__ import annotations

from enum import IntEnum

ACTIVE = 0
"""Reason of tasks in no suspension."""


class SuspendReason(IntEnum):
    """Reason in ContinuousTaskSuspend; numbers under 32 are OpenHarmony's ContinuousTaskSuspendReason."""

    BATTERY_CRITICAL = 32
