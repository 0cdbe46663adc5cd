# SPDX-License-Identifier: Apache-2.0
"""What `systemctl status` shows (STATUS= in sd_notify(3))."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from missiond.core.power.level import Power, PowerLevel
from missiond.daemon.tasks.leases import Leases
from missiond.degraded import Degraded

SETTLE = 0.2
"""Seconds in which changes are gathered into one message."""


class Status:
    """One line, sent when it has changed."""

    def __init__(self, send: Callable[[str], None], leases: Leases, power: Power, degraded: Degraded) -> None:
        self._send = send
        self._leases = leases
        self._power = power
        self._degraded = degraded
        self.peers: Callable[[], str] = lambda: "off"
        """How peers are, in a few words."""
        self._sent = ""
        self._soon: asyncio.TimerHandle | None = None

    def touch(self) -> None:
        """Something may have changed."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SETTLE, self.flush)

    def flush(self) -> None:
        """Send the line now, if it is a new one."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        text = self.text
        if text != self._sent:
            self._sent = text
            self._send(text)

    @property
    def text(self) -> str:
        """What is held, on what power, and what is missing."""
        leases = self._leases
        suspended = leases.continuous.suspended
        note = f" ({suspended} suspended)" if suspended else ""
        counts = (
            _count(len(leases.transient), "transient task"),
            _count(len(leases.continuous), "continuous task") + note,
            _count(leases.keeper.count, "lock") + " held",
        )
        parts = [", ".join(counts), self._power_text(), f"peers: {self.peers()}"]
        if self._degraded:
            parts.append("degraded: " + "; ".join(self._degraded.sentences))
        return "; ".join(parts)

    def _power_text(self) -> str:
        reading = self._power.reading
        if not reading.present:
            return "no battery"
        percent = "unknown charge" if reading.percent is None else f"{reading.percent:.0f} %"
        level = self._power.level
        source = "on external power" if reading.external else "on battery"
        # A charger that is too weak is no reason to be silent about the level.
        told = "" if reading.external and level is PowerLevel.NORMAL else f", {level.value}"
        return f"{percent}, {source}{told}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
