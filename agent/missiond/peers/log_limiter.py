# SPDX-License-Identifier: Apache-2.0
"""What is wrong with those who connect, in the log once and not for each packet."""

from __future__ import annotations

import logging
from collections import OrderedDict

from missiond.common.clock import Clock

_REPEAT = 3_600_000
_REMEMBERED = 256
_BURST, _PERIOD = 30, 600_000

_LOGGER = logging.getLogger(__name__)


class PeerLogLimiter:
    """Logs each (who, what) once an hour, and of all strangers together at most 30 in ten minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._since = -_PERIOD
        self._count = 0

    def report(self, who: str, what: str) -> None:
        """Say what is wrong with `who`, an address or a device; both must be fit for a log."""
        now = self._clock.now()
        said = self._said.get((who, what))
        if said is not None and now - said < _REPEAT:
            return
        if not self._room(now):
            return
        self._said[who, what] = now
        self._said.move_to_end((who, what))
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        _LOGGER.warning("%s: %s", who, what)

    def _room(self, now: int) -> bool:
        if now - self._since >= _PERIOD:
            self._since, self._count = now, 0
        self._count += 1
        if self._count == _BURST + 1:
            _LOGGER.warning("more bad connections are not logged for a while")
        return self._count <= _BURST
