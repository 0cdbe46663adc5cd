# SPDX-License-Identifier: Apache-2.0
"""Wishes for peers' lists, kept over restarts of this unit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from missiond.core import schema
from missiond.peers.device import SyncWish
from missiond.store.saved_file import SavedFile

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Saved:
    wishes: dict[Annotated[str, schema.Form("[0-9a-f]{64}", "an id of a device")], SyncWish]


class SyncSubscriptions:
    """The wishes in one small file; losing the file costs a StartSync."""

    def __init__(self, path: Path) -> None:
        self._file = SavedFile(path, lambda json: schema.load(_Saved, json))
        self._wishes: dict[str, SyncWish] = {}

    def load(self) -> dict[str, SyncWish]:
        """Return the wishes by device id; a damaged file is logged and set aside."""
        saved = self._file.read()
        self._wishes = saved.wishes if saved is not None else {}
        return dict(self._wishes)

    def set(self, device_id: str, wish: SyncWish | None) -> None:
        """Remember or forget a wish; a failure to save is logged."""
        if self._wishes.get(device_id) == wish:
            return
        if wish is None:
            del self._wishes[device_id]
        else:
            self._wishes[device_id] = wish
        try:
            self._file.write(_Saved(self._wishes))
        except OSError as error:
            _LOGGER.error("what is to be synchronised can't be saved: %s", error)
