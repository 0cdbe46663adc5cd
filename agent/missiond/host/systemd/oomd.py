# SPDX-License-Identifier: Apache-2.0
"""Presence of systemd-oomd(8), by the service's name on the bus."""

from __future__ import annotations

import logging
from collections.abc import Callable

from missiond.bus.connection import CallTimeout, Connection, RemoteError

_LOGGER = logging.getLogger(__name__)
_NAME = "org.freedesktop.oom1"


class Oomd:
    """Watch on systemd-oomd: calls back with True at each start and False at the end; starts nothing."""

    def __init__(self, connection: Connection, changed: Callable[[bool], None]) -> None:
        self._connection = connection
        self._changed = changed
        connection.watch_name(_NAME, lambda _, new: changed(bool(new)))

    async def start(self) -> None:
        """Look whether systemd-oomd is there already."""
        try:
            if await self._connection.name_owner(_NAME) is not None:
                self._changed(True)
        except (RemoteError, CallTimeout) as error:
            _LOGGER.debug("systemd-oomd: %s", error)
