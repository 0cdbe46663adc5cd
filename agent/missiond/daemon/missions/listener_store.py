# SPDX-License-Identifier: Apache-2.0
"""The record of listeners to missions: a restart of the agent costs nobody a call."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from missiond.core.json_types import Uid, UniqueName
from missiond.store.record_store import RecordStore, Store, of

_LOGGER = logging.getLogger(__name__)
_KIND = "listener"
_ONLY = 1


@dataclass(frozen=True, slots=True)
class _Saved:
    bus: str
    users: dict[UniqueName, Uid]


class ListenerStore:
    """One record of all listeners. Unique names are not given twice by one bus, the one of `bus_id`."""

    def __init__(self, files: RecordStore, bus_id: str = "") -> None:
        self._records = Store(files, _KIND, of(_Saved))
        self._bus_id = bus_id

    def save(self, users: Mapping[str, int]) -> None:
        """Replace the record; `users` is unique bus name to uid."""
        try:
            if users:
                self._records.save(_ONLY, _Saved(self._bus_id, dict(users)))
            else:
                self._records.remove(_ONLY)
        except (OSError, ValueError) as error:
            _LOGGER.warning("listeners will have to register again after a restart: %s", error)

    def load(self) -> dict[str, int]:
        """Return the listeners on this bus; some may have left since."""
        saved = self._records.load().get(_ONLY)
        return saved.users if saved is not None and saved.bus == self._bus_id else {}
