# SPDX-License-Identifier: Apache-2.0
"""Who waits for ContinueDone, written down so that a restart of the agent costs nobody the answer."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import NamedTuple

from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_KIND = "continuation"


class Requester(NamedTuple):
    """The connection that called, and its user."""

    name: str
    uid: int


class PendingContinuations:
    """Numbers of continuations, from 1. Names of connections are those of the bus that `bus_id` names."""

    def __init__(self, files: RecordStore, counters: Counters, bus_id: str = "") -> None:
        self._bus_id = bus_id
        self._files = files
        self._counters = counters
        self._waiting: dict[int, Requester] = {}

    def load(self) -> None:
        """Go on with those of an earlier run; on another bus nobody waits."""
        for number, record in self._files.load(_KIND):
            name, uid = record.get("name"), record.get("uid")
            if record.get("bus") != self._bus_id or not isinstance(name, str) or type(uid) is not int:
                self._remove(number)
                continue
            self._counters.at_least(_KIND, number)
            self._waiting[number] = Requester(name, uid)

    def next(self) -> int:
        """Return a number that nobody waits for."""
        return self._counters.next(_KIND, self._waiting.__contains__)

    def wait(self, number: int, name: str, uid: int) -> None:
        """Have this connection be told."""
        self._waiting[number] = Requester(name, uid)
        try:
            self._files.save(_KIND, number, {"bus": self._bus_id, "name": name, "uid": uid})
        except OSError as error:
            _LOGGER.warning("after a restart nobody is told of continuation %d: %s", number, error)

    def keep(self, numbers: Collection[int]) -> None:
        """Let all others wait no longer: they saw their calls fail."""
        for number in self._waiting.keys() - set(numbers):
            self.done(number)

    def who(self, number: int) -> Requester | None:
        """Return who waits for this one."""
        return self._waiting.get(number)

    def done(self, number: int) -> None:
        """It was told, or will never be."""
        if self._waiting.pop(number, None) is not None:
            self._remove(number)

    def _remove(self, number: int) -> None:
        try:
            self._files.remove(_KIND, number)
        except OSError as error:
            _LOGGER.debug("the record of continuation %d stays: %s", number, error)
