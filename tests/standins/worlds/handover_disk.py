# SPDX-License-Identifier: Apache-2.0
"""A disk that keeps what a host's hand-overs wrote, and can be full."""

from __future__ import annotations

import json
from collections.abc import Callable

from missiond.core import schema
from missiond.core.handover.record import Record


class Disk:
    """Records, states and fences of one host; outlives its daemon."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        self.states: dict[str, bytes] = {}
        self.fences: dict[str, int] = {}
        self.full: Callable[[], bool] = lambda: False
        """Asked at each write; removing always works."""

        self.half = False
        """Whether a record that "could not be written" is there all the same, as where fsync(2) fails."""

    def _room(self) -> None:
        if self.full():
            raise OSError(28, "No space left on device")

    def write(self, record: Record) -> None:
        text = json.dumps(schema.dump(record))
        try:
            self._room()
        except OSError:
            if self.half:
                self.records[record.transfer] = text
            raise
        self.records[record.transfer] = text

    def write_state(self, transfer: str, state: bytes) -> None:
        self._room()
        self.states[transfer] = state

    def save_fence(self, identity: str, fence: int) -> None:
        self._room()
        self.fences[identity] = fence

    def remove(self, transfer: str) -> None:
        self.records.pop(transfer, None)
        self.states.pop(transfer, None)

    def load(self) -> list[Record]:
        """Return records as a new daemon finds them; a state without one is nobody's."""
        for orphan in self.states.keys() - self.records.keys():
            del self.states[orphan]
        return [schema.load(Record, json.loads(text), exact=True) for text in self.records.values()]
