# SPDX-License-Identifier: Apache-2.0
"""Subscriptions to peers' lists, kept over restarts of this unit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from missiond.core import schema
from missiond.peers.device import SyncSubscription
from missiond.store.saved_file import SavedFile

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Saved:
    wishes: dict[Annotated[str, schema.Form("[0-9a-f]{64}", "an id of a device")], SyncSubscription]


class SyncSubscriptions:
    """The subscriptions in one small file; losing the file costs a StartSync."""

    def __init__(self, path: Path) -> None:
        self._file = SavedFile(path, lambda json: schema.load(_Saved, json))
        self._subscriptions: dict[str, SyncSubscription] = {}

    def load(self) -> dict[str, SyncSubscription]:
        """Return the subscriptions by device id; a damaged file is logged and set aside."""
        saved = self._file.read()
        self._subscriptions = saved.wishes if saved is not None else {}
        return dict(self._subscriptions)

    def set(self, device_id: str, subscription: SyncSubscription | None) -> None:
        """Remember or forget a subscription; a failure to save is logged."""
        if self._subscriptions.get(device_id) == subscription:
            return
        if subscription is None:
            del self._subscriptions[device_id]
        else:
            self._subscriptions[device_id] = subscription
        try:
            self._file.write(_Saved(self._subscriptions))
        except OSError as error:
            _LOGGER.error("what is to be synchronised can't be saved: %s", error)
