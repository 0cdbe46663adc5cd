# SPDX-License-Identifier: Apache-2.0
"""The callers waiting for ContinueDone, on disk, so as to survive a restart of the agent."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from missiond.core.json_types import Uid
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore, Store, of

_LOGGER = logging.getLogger(__name__)
_KIND = "continuation"


class Requester(NamedTuple):
    """Connection and user of a caller."""

    name: str
    uid: int


@dataclass(frozen=True, slots=True)
class _Saved:
    bus: str
    name: str
    uid: Uid


class PendingContinuations:
    """Continuations by number, from 1, with the callers' connections on the bus `bus_id`."""

    def __init__(self, files: RecordStore, counters: Counters, bus_id: str = "") -> None:
        self._bus_id = bus_id
        self._records = Store(files, _KIND, of(_Saved))
        self._counters = counters
        self._waiting: dict[int, Requester] = {}

    def load(self) -> None:
        """Read the callers of an earlier run; on another bus nobody waits."""
        for number, saved in self._records.load().items():
            if saved.bus != self._bus_id:
                self._remove(number)
                continue
            self._counters.at_least(_KIND, number)
            self._waiting[number] = Requester(saved.name, saved.uid)

    def next(self) -> int:
        """Return a number without a waiting caller."""
        return self._counters.next(_KIND, self._waiting.__contains__)

    def wait(self, number: int, name: str, uid: int) -> None:
        """Note a caller for a number."""
        self._waiting[number] = Requester(name, uid)
        try:
            self._records.save(number, _Saved(self._bus_id, name, uid))
        except OSError as error:
            _LOGGER.warning("after a restart nobody is told of continuation %d: %s", number, error)

    def keep(self, numbers: Collection[int]) -> None:
        """Drop all other numbers: the callers saw an error."""
        for number in self._waiting.keys() - set(numbers):
            self.done(number)

    def who(self, number: int) -> Requester | None:
        """Return the caller waiting for a number."""
        return self._waiting.get(number)

    def done(self, number: int) -> None:
        """Drop a number."""
        if self._waiting.pop(number, None) is not None:
            self._remove(number)

    def _remove(self, number: int) -> None:
        try:
            self._records.remove(number)
        except OSError as error:
            _LOGGER.debug("the record of continuation %d stays: %s", number, error)
