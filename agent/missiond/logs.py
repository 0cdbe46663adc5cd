# SPDX-License-Identifier: Apache-2.0
"""Log lines of a service: to standard error, as the journal takes them."""

from __future__ import annotations

import logging
import os


class _Priority(logging.Formatter):
    """Lines as the journal takes them from standard error (sd-daemon(3))."""

    _levels = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))

    def format(self, record: logging.LogRecord) -> str:
        """Put the priority in front of each line."""
        priority = next((number for level, number in self._levels if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def set_up(*, debug: bool) -> None:
    """Log from INFO on, or everything."""
    handler = logging.StreamHandler()
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_Priority("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])
