# SPDX-License-Identifier: Apache-2.0
"""Devices permitted to hand missions over to this host and to fetch missions, as told to this agent.

The peer unit keeps and shows permissions, and looks at them first. What it says of this one, which lets
programs be started, is believed only where it stands here as well: the unit is on the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from missiond.core import schema
from missiond.store.saved_file import SavedFile


@dataclass(frozen=True, slots=True)
class _Saved:
    devices: frozenset[Annotated[str, schema.Form("[0-9a-f]{64}", "an id of a device")]]


class PermittedDevices:
    """A set of device ids in one file; empty, with a log line, where the file is damaged."""

    def __init__(self, path: Path) -> None:
        self._file = SavedFile(
            path,
            lambda json: schema.load(_Saved, json),
            durable=True,
            lost="no device may continue missions here",
        )
        self._devices: frozenset[str] = frozenset()

    def load(self) -> None:
        """Read the file; nobody is permitted without one."""
        saved = self._file.read()
        self._devices = saved.devices if saved is not None else frozenset()

    def __contains__(self, device_id: object) -> bool:
        return device_id in self._devices

    def set(self, device_id: str, *, permitted: bool) -> None:
        """Permit one, or no longer, durably; raises OSError, and has changed nothing then."""
        devices = self._devices | {device_id} if permitted else self._devices - {device_id}
        if devices == self._devices:
            return
        self._file.write(_Saved(devices))
        self._devices = devices
