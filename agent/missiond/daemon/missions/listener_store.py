# SPDX-License-Identifier: Apache-2.0
"""Who listens to missions, written down so that a restart of the agent costs nobody a call."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from missiond.store.checks import MOST_UID, number, unique_name
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_KIND = "listener"
_ONLY = 1


class ListenerStore:
    """One record of all of them. Unique names are not given twice by one bus, which `bus_id` names."""

    def __init__(self, files: RecordStore, bus_id: str = "") -> None:
        self._files = files
        self._bus_id = bus_id

    def save(self, users: Mapping[str, int]) -> None:
        """Replace what is written; `users` is unique bus name to uid."""
        try:
            if users:
                self._files.save(_KIND, _ONLY, {"bus": self._bus_id, "users": dict(users)})
            else:
                self._files.remove(_KIND, _ONLY)
        except (OSError, ValueError) as error:
            _LOGGER.warning("listeners will have to register again after a restart: %s", error)

    def load(self) -> dict[str, int]:
        """Return those of this bus; they may have left since."""
        for record_id, record in self._files.load(_KIND):
            users = record.get("users")
            if record_id == _ONLY and record.get("bus") == self._bus_id and isinstance(users, dict):
                try:
                    return {unique_name(name): number(uid, 0, MOST_UID) for name, uid in users.items()}
                except (TypeError, ValueError) as error:
                    self._files.reject(_KIND, record_id, error)
        return {}
