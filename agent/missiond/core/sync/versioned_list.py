# SPDX-License-Identifier: Apache-2.0
"""The shared list of this host, and the way to the present from any point in the past."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from missiond.core.link.message_types import Update
from missiond.core.link.rows import MAX_BYTES, MAX_ROWS, encode
from missiond.core.missions.missions import Row
from missiond.core.schema import I63

_ID: Final = 0
_TAG: Final = 9


class VersionedList:
    """A list with one writer: each change of a row gets the next number.

    `list_id` (1 to 2**63 - 1, random) names this run of numbers: a new one has to be chosen whenever
    numbers could repeat, that is at each start, since nothing is kept on disk. What was removed is
    remembered `tombstones` times. Rows beyond `max_rows` and `max_bytes` wait until there is room.
    """

    def __init__(
        self, list_id: int, tombstones: int = 4096, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES
    ) -> None:
        if not 0 < list_id <= I63:
            raise ValueError("list_id is a number from 1 to 2**63 - 1")
        self.list_id = list_id
        self.seq = 0
        self._tombstones = tombstones
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._bytes = 0
        self._rows: dict[int, tuple[int, int, bytes]] = {}
        """Mission to (seq, tag, bytes), the latest change last."""
        self._graves: dict[tuple[int, int], int] = {}
        """(mission, tag) to the seq at which no such mission had this tag any more, the latest last."""
        self._forgotten = 0
        """Seq of the latest grave that is no longer there: who has less gets the whole list."""
        self._waiting: dict[int, tuple[int, bytes]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Number of rows without room."""
        return len(self._waiting)

    def tag_of(self, mission: int) -> int | None:
        """Return a mission's tag, None for a mission not in the list."""
        found = self._rows.get(mission)
        return None if found is None else found[1]

    def change(self, rows: Iterable[Row], removed: Iterable[int]) -> bool:
        """Put rows in, or in place of older ones, and take others out; return whether anything changed."""
        before = self.seq
        for row in rows:
            self._put(row[_ID], row[_TAG], encode(row))
        for mission in removed:
            self._waiting.pop(mission, None)
            self._take_out(mission)
        self._admit()
        return self.seq != before

    def replace(self, rows: Iterable[Row]) -> bool:
        """Replace the list; equal rows do not count as a change."""
        new = {row[_ID]: row for row in rows}
        gone = [mission for mission in (*self._rows, *self._waiting) if mission not in new]
        before = self.seq
        self.change((), gone)
        self.change(new.values(), ())
        return self.seq != before

    def update(self, since: tuple[int, int] | None, tag: int) -> Update:
        """Return the changes from `since` (list id and seq) to now, or the whole list where none fit.

        With a tag other than 0 it is about the missions with this tag alone.
        """
        if since is None or since[0] != self.list_id or not self._forgotten <= since[1] <= self.seq:
            rows = tuple(data for _, of, data in self._rows.values() if tag in (0, of))
            return Update(0, self.list_id, 0, self.seq, full=True, rows=rows, removed=())
        have = since[1]
        fresh: list[bytes] = []
        for seq, of, data in reversed(self._rows.values()):
            if seq <= have:
                break
            if tag in (0, of):
                fresh.append(data)
        fresh.reverse()
        gone = tuple(self._gone(have, tag))
        return Update(0, self.list_id, have, self.seq, full=False, rows=tuple(fresh), removed=gone)

    def _gone(self, have: int, tag: int) -> Iterable[int]:
        gone: dict[int, None] = {}
        for (mission, of), seq in reversed(self._graves.items()):
            if seq <= have:
                break
            if mission not in self._rows if tag == 0 else of == tag:
                gone[mission] = None
        return reversed(gone)

    def _put(self, mission: int, tag: int, data: bytes) -> None:
        old = self._rows.get(mission)
        if old is not None and old[2] == data:
            return
        room = self._max_bytes - self._bytes + (0 if old is None else len(old[2]))
        if len(data) > room or (old is None and len(self._rows) >= self._max_rows):
            self._take_out(mission)
            self._waiting[mission] = (tag, data)
            return
        self._waiting.pop(mission, None)
        self.seq += 1
        if old is not None:
            del self._rows[mission]
            self._bytes -= len(old[2])
            if old[1] != tag:
                self._bury(mission, old[1])
        self._rows[mission] = (self.seq, tag, data)
        self._bytes += len(data)
        self._graves.pop((mission, tag), None)

    def _take_out(self, mission: int) -> None:
        old = self._rows.pop(mission, None)
        if old is None:
            return
        self.seq += 1
        self._bytes -= len(old[2])
        self._bury(mission, old[1])

    def _bury(self, mission: int, tag: int) -> None:
        self._graves.pop((mission, tag), None)
        self._graves[mission, tag] = self.seq
        while len(self._graves) > self._tombstones:
            oldest = next(iter(self._graves))
            self._forgotten = self._graves.pop(oldest)

    def _admit(self) -> None:
        """Let in what there is room for again, who waits longest first."""
        while self._waiting and len(self._rows) < self._max_rows:
            mission, (tag, data) = next(iter(self._waiting.items()))
            if len(data) > self._max_bytes - self._bytes:
                return
            self._put(mission, tag, data)
