# SPDX-License-Identifier: Apache-2.0
"""Warnings caused by others: a few per minute, then only a count."""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

REPEAT = 3600.0
"""Seconds before `once` says the same again."""
REMEMBERED = 256
"""Most keys remembered by `once`."""


class LogLimiter:
    """Logs at most `burst` messages in `interval` seconds, and then how many were left out.

    _limited = LogLimiter(logging.getLogger(__name__))
    _limited.warning("%s sent nonsense", sender)
    _limited.once(sender, "%s sent nonsense", sender)  # and the same key again an hour later
    """

    def __init__(
        self,
        logger: logging.Logger,
        burst: int = 10,
        interval: float = 60.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now` tells the time in seconds."""
        self._logger = logger
        self._burst = burst
        self._interval = interval
        self._now = now
        self._since = float("-inf")
        self._count = 0
        self._said: OrderedDict[Hashable, float] = OrderedDict()

    def allow(self) -> bool:
        """Count one more message, and return whether there is room."""
        now = self._now()
        if now - self._since >= self._interval:
            left_out = self._count - self._burst
            self._since, self._count = now, 0
            if left_out > 0:
                self._logger.warning("%d similar messages were left out", left_out)
        self._count += 1
        return self._count <= self._burst

    def warning(self, text: str, *arguments: object) -> None:
        """Log a warning where there is room."""
        if self.allow():
            self._logger.warning(text, *arguments)

    def once(self, key: Hashable, text: str, *arguments: object) -> None:
        """Log a warning where there is room and the key had none within the last hour."""
        now = self._now()
        said = self._said.get(key)
        if (said is not None and now - said < REPEAT) or not self.allow():
            return
        self._said[key] = now
        self._said.move_to_end(key)
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        self._logger.warning(text, *arguments)

    def info(self, text: str, *arguments: object) -> None:
        """Log an event without fault where there is room."""
        if self.allow():
            self._logger.info(text, *arguments)

    def error(self, text: str, *arguments: object, exc_info: Any = None) -> None:  # noqa: ANN401 (as logging's)
        """Log an error where there is room."""
        if self.allow():
            self._logger.error(text, *arguments, exc_info=exc_info)

    def exception(self, text: str, *arguments: object) -> bool:
        """Log an error with the current traceback where there is room, and return whether there was."""
        if not self.allow():
            return False
        self._logger.error(text, *arguments, exc_info=sys.exc_info())
        return True
