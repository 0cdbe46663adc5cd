# SPDX-License-Identifier: Apache-2.0
"""Which peers' lists are wanted, kept over restarts of this unit."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from missiond.peers.device import SyncWish
from missiond.peers.transport.certificate import is_device_id
from missiond.store import safe_files

_VERSION = 1
_LIMIT = 1 << 20
_LOGGER = logging.getLogger(__name__)


class SyncSubscriptions:
    """One small file for all; losing it costs a StartSync."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wishes: dict[str, SyncWish] = {}

    def load(self) -> dict[str, SyncWish]:
        """Return the wishes by device id; a damaged file is logged and set aside."""
        try:
            self._wishes = _decode(safe_files.read_regular(self._path, _LIMIT))
        except FileNotFoundError:
            self._wishes = {}
        except (OSError, ValueError, RecursionError) as error:
            _LOGGER.error("%s can't be used (%s), set aside", self._path, error)
            try:
                safe_files.set_aside(str(self._path))
            except OSError as second:
                _LOGGER.error("and can't be set aside: %s", second)
        return dict(self._wishes)

    def set(self, device_id: str, wish: SyncWish | None) -> None:
        """Remember one, or forget it; where it can't be saved, that is logged."""
        if self._wishes.get(device_id) == wish:
            return
        if wish is None:
            del self._wishes[device_id]
        else:
            self._wishes[device_id] = wish
        record = {name: list(each) for name, each in self._wishes.items()}
        try:
            safe_files.replace(str(self._path), json.dumps({"version": _VERSION, "wishes": record}).encode())
        except OSError as error:
            _LOGGER.error("what is to be synchronised can't be saved: %s", error)


def _decode(data: bytes) -> dict[str, SyncWish]:
    record: Any = json.loads(data.decode())
    if type(record) is not dict or type(record.get("wishes")) is not dict:
        raise ValueError("not a file of wishes")
    version = record.get("version")
    if type(version) is not int or version != _VERSION:
        raise ValueError("not a file of this version")
    wishes = {}
    for device_id, wish in record["wishes"].items():
        if not is_device_id(device_id) or type(wish) is not list or list(map(type, wish)) != [int, bool]:
            raise ValueError("a wish that is none")
        if not -(2**31) <= wish[0] < 2**31:
            raise ValueError("a tag out of range")
        wishes[device_id] = SyncWish(*wish)
    return wishes
