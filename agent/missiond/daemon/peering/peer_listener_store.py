# SPDX-License-Identifier: Apache-2.0
"""Who listens to missions of peers, written down as those who listen to this host's are."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from missiond.store.checks import text, unique_name
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_KIND = "peer-listener"
_ONLY = 1


class PeerListenerFile:
    """One record of all of them. Unique names are not given twice by one bus, which `bus_id` names."""

    def __init__(self, files: RecordStore, bus_id: str = "") -> None:
        self._files = files
        self._bus_id = bus_id

    def save(self, listeners: Mapping[str, Collection[str]]) -> None:
        """Replace what is written; `listeners` is device id to unique bus names."""
        try:
            if listeners:
                devices = {device: list(names) for device, names in listeners.items()}
                self._files.save(_KIND, _ONLY, {"bus": self._bus_id, "devices": devices})
            else:
                self._files.remove(_KIND, _ONLY)
        except (OSError, ValueError) as error:
            _LOGGER.warning("listeners to peers will have to register again after a restart: %s", error)

    def load(self) -> list[tuple[str, str]]:
        """Return device and name of those of this bus; they may have left since."""
        for number, record in self._files.load(_KIND):
            devices = record.get("devices")
            if number == _ONLY and record.get("bus") == self._bus_id and isinstance(devices, dict):
                try:
                    pairs = ((text(device), list(names)) for device, names in devices.items())
                    return [(device, unique_name(name)) for device, names in pairs for name in names]
                except (TypeError, ValueError) as error:
                    self._files.reject(_KIND, number, error)
        return []
