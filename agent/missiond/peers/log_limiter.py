# SPDX-License-Identifier: Apache-2.0
"""Warnings about clients and peers: each once an hour, and few of all together."""

from __future__ import annotations

import logging

from missiond.common.clock import Clock
from missiond.common.log_limiter import LogLimiter

_BURST, _SECONDS = 30, 600.0


class PeerLogLimiter(LogLimiter):
    """Logs each source and fault once an hour, and of all sources at most 30 in ten minutes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.getLogger(__name__), _BURST, _SECONDS, lambda: clock.now() / 1000)

    def report(self, who: str, what: str) -> None:
        """Warn about an address or a device; both texts must be fit for a log."""
        self.once((who, what), "%s: %s", who, what)
