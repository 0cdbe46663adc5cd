# SPDX-License-Identifier: Apache-2.0
"""The listeners to missions of peers, in a record."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from missiond.core.json_types import UniqueName
from missiond.store.record_store import RecordStore, Store, of

_LOGGER = logging.getLogger(__name__)
_KIND = "peer-listener"
_ONLY = 1


@dataclass(frozen=True, slots=True)
class _Saved:
    bus: str
    devices: dict[str, list[UniqueName]]


class PeerListenerFile:
    """One record of all listeners, with unique names of the bus `bus_id` only."""

    def __init__(self, files: RecordStore, bus_id: str = "") -> None:
        self._records = Store(files, _KIND, of(_Saved))
        self._bus_id = bus_id

    def save(self, listeners: Mapping[str, Collection[str]]) -> None:
        """Replace the record; `listeners` is device id to unique bus names."""
        try:
            if listeners:
                devices = {device: list(names) for device, names in listeners.items()}
                self._records.save(_ONLY, _Saved(self._bus_id, devices))
            else:
                self._records.remove(_ONLY)
        except (OSError, ValueError) as error:
            _LOGGER.warning("listeners to peers will have to register again after a restart: %s", error)

    def load(self) -> list[tuple[str, str]]:
        """Return device and name of listeners on this bus, perhaps gone meanwhile."""
        saved = self._records.load().get(_ONLY)
        if saved is None or saved.bus != self._bus_id:
            return []
        return [(device, name) for device, names in saved.devices.items() for name in names]
