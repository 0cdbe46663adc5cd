# SPDX-License-Identifier: Apache-2.0
"""Devices that may hand missions over to this host and fetch them, as people have said it to this agent.

The peer unit keeps and shows permissions, and looks at them first. What it says of this one, which lets
programs be started, is believed only where it stands here as well: the unit is on the network.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path

from missiond.store import safe_files

_LOGGER = logging.getLogger(__name__)
_LIMIT = 1 << 20
_DEVICE = re.compile(r"[0-9a-f]{64}", re.ASCII)


class PermittedDevices:
    """A set of device ids in one file; empty where that can't be read, which is said."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._devices: frozenset[str] = frozenset()

    def load(self) -> None:
        """Read the file; nobody is permitted without one."""
        try:
            self._devices = _parse(safe_files.read_regular(self._path, _LIMIT))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _LOGGER.error("%s is not read: %s; no device may continue missions here", self._path, error)

    def __contains__(self, device_id: object) -> bool:
        return device_id in self._devices

    def set(self, device_id: str, *, permitted: bool) -> None:
        """Permit one, or no longer, durably; raises OSError, and has changed nothing then."""
        devices = self._devices | {device_id} if permitted else self._devices - {device_id}
        if devices == self._devices:
            return
        data = json.dumps({"version": 1, "devices": sorted(devices)}).encode()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            safe_files.replace(self._path.name, data, dir_fd=directory, durable=True)
        finally:
            os.close(directory)
        self._devices = devices


def _parse(data: bytes) -> frozenset[str]:
    content = json.loads(data)
    if content["version"] != 1:
        raise ValueError("it is of another version")
    devices = frozenset(content["devices"])
    if not all(_DEVICE.fullmatch(each) for each in devices):
        raise ValueError("it has what are no devices")
    return devices
