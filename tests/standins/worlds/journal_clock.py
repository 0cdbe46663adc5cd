# SPDX-License-Identifier: Apache-2.0
"""A host's clocks: the true time, and what the host knows of it."""

from __future__ import annotations

# 2025-01-01, a day on which wall clocks are set.
START = 1_735_689_600_000


class JournalClock:
    """Clocks of a host that is booted at the true time ``START``; all times in ms."""

    def __init__(self) -> None:
        self.true = START
        self.wall_error = 0
        self._booted = START
        self._boots = 1

    @property
    def boot_id(self) -> str:
        return f"00000000-0000-4000-8000-{self._boots:012}"

    def now(self) -> int:
        return self.true - self._booted

    def wall(self) -> int:
        return self.true + self.wall_error

    def advance(self, ms: int) -> None:
        self.true += ms

    def reboot(self, off: int = 0) -> None:
        """Switch the host off for a while, and on."""
        self.true += off
        self._booted = self.true
        self._boots += 1

    def to_true(self, now: int) -> int:
        """The true time at a reading of the boot clock."""
        return self._booted + now
