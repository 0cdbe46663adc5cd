# SPDX-License-Identifier: Apache-2.0
"""Word of a shortage of file descriptors or memory, once however often one occurs."""

from __future__ import annotations

import errno
import time

from missiond.degraded import Degraded

OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
QUIET = 60.0
"""Least seconds between two lines in the log."""


class Shortage:
    """Shortage of descriptors or memory for `whom`: in Degraded while present, in the log now and then."""

    def __init__(self, degraded: Degraded, whom: str) -> None:
        self._degraded = degraded
        self._whom = whom
        self._is_short = False
        self._said = float("-inf")

    def failed(self, reason: str) -> None:
        """Something could not be had, for this reason."""
        if self._is_short:
            return
        self._is_short = True
        now = time.monotonic()
        quiet = now - self._said < QUIET
        self._said = self._said if quiet else now
        sentence = f"some {self._whom} can't be watched ({reason}); see LimitNOFILE= in missiond(8)"
        self._degraded.set(f"descriptors for {self._whom}", sentence, quiet=quiet)

    def worked(self) -> None:
        """Note the end of the shortage."""
        if self._is_short:
            self._is_short = False
            self._degraded.set(f"descriptors for {self._whom}", None, quiet=True)
