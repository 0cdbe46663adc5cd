# SPDX-License-Identifier: Apache-2.0
"""Log lines of a service, on standard error with the journal's levels."""

from __future__ import annotations

import logging
import os
import sys

from missiond.stderr import Stderr


class _Priority(logging.Formatter):
    """Lines as the journal takes them from standard error (sd-daemon(3))."""

    _levels = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))

    def format(self, record: logging.LogRecord) -> str:
        """Put the priority in front of each line."""
        priority = next((number for level, number in self._levels if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def set_up(*, debug: bool = False) -> None:
    """Log from INFO on, or everything; nothing waits for readers of standard error from now on.

    A journal that stands still would hold the service up otherwise, once its socket is full.
    """
    in_journal = "JOURNAL_STREAM" in os.environ
    sys.stderr = Stderr(mark="<4>" if in_journal else "")
    handler = logging.StreamHandler()
    if in_journal:
        handler.setFormatter(_Priority("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.INFO, handlers=[handler])
