# SPDX-License-Identifier: Apache-2.0
"""Whether missiond-units can be reached, in Degraded while not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from missiond.degraded import Degraded
from missiond.host.inotify import Reappearing

_LOGGER = logging.getLogger(__name__)
_NEIGHBOUR = "units"


class UnitsReach:
    """Reach of missiond-units by the latest question; the socket is watched while there is none."""

    def __init__(self, path: Path, degraded: Degraded, back: Callable[[], None]) -> None:
        """:param back: called when the socket is there again, from the running loop."""
        self._path = path
        self._degraded = degraded
        self._back = back
        self._watch: Reappearing | None = None

    def missing(self, sentence: str) -> None:
        """Put the lack of missiond-units in Degraded, with the consequence, and watch the socket."""
        self._degraded.set(_NEIGHBOUR, sentence)
        if self._watch is None:
            try:
                self._watch = Reappearing(self._path, self._event)
            except OSError as error:
                _LOGGER.warning("can't watch %s: %s", self._path, error)

    def answered(self) -> None:
        """Clear the sentence after an answer, good or bad, and end the watch."""
        self.close()
        self._degraded.set(_NEIGHBOUR, None)

    def close(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _event(self) -> None:
        if self._path.is_socket():
            self.answered()
            self._back()
