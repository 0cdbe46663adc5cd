# SPDX-License-Identifier: Apache-2.0
"""Warnings that clients can cause: a few per minute, then only a count."""

from __future__ import annotations

import logging
import sys
import time


class LogLimiter:
    """Logs at most `burst` warnings in `interval` seconds and says how many it left out."""

    def __init__(self, logger: logging.Logger, burst: int = 10, interval: float = 60.0) -> None:
        self._logger = logger
        self._burst = burst
        self._interval = interval
        self._since = float("-inf")
        self._count = 0

    def allow(self) -> bool:
        """Whether one more message may be logged now."""
        now = time.monotonic()
        if now - self._since >= self._interval:
            left_out = self._count - self._burst
            self._since, self._count = now, 0
            if left_out > 0:
                self._logger.warning("%d similar messages were left out", left_out)
        self._count += 1
        return self._count <= self._burst

    def warning(self, text: str, *arguments: object) -> None:
        """Log a warning if there is room for it."""
        if self.allow():
            self._logger.warning(text, *arguments)

    def info(self, text: str, *arguments: object) -> None:
        """Log what is no fault if there is room for it."""
        if self.allow():
            self._logger.info(text, *arguments)

    def exception(self, text: str, *arguments: object) -> bool:
        """Log an error with the current traceback if there is room for it, and say whether it was logged."""
        if not self.allow():
            return False
        self._logger.error(text, *arguments, exc_info=sys.exc_info())
        return True
