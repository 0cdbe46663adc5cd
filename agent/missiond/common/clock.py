# SPDX-License-Identifier: Apache-2.0
"""The time that the core is handed."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A clock that goes on while the host sleeps (CLOCK_BOOTTIME, clock_gettime(2))."""

    def now(self) -> int:
        """Milliseconds since boot, suspend included; never goes back."""
        ...
