# SPDX-License-Identifier: Apache-2.0
"""The view of a peer's list: always a state of the peer, never an older one after a newer."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field

from missiond.core.link.checks import BadMessage
from missiond.core.link.message_types import Update
from missiond.core.link.rows import MAX_BYTES, MAX_ROWS, decode, mission_of
from missiond.core.missions.missions import Row


@dataclass(frozen=True, slots=True)
class Applied:
    """An update was taken in.

    `done` is false while parts of it are missing (nothing shows yet); `changed` says whether what the view
    shows is different now.
    """

    done: bool
    changed: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """An update without a fit to the view, and without a trace: the whole list is needed."""

    reason: str


@dataclass(slots=True)
class _Staged:
    """An update of which parts are missing; bounded, whatever comes."""

    state: tuple[int, int, int, int, bool]
    rows: dict[int, bytes] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    size: int = 0

    def add(self, update: Update) -> None:
        """Put a part in."""
        self.removed.update(update.removed)
        for data in update.rows:
            mission = mission_of(data)
            self.size += len(data) - len(self.rows.get(mission, b""))
            self.rows[mission] = data


class Replica:
    """The rows of one peer, by mission id; one bytes object a row and two arrays, for memory.

    `list_id` and `seq` say which state of the peer's list this is; `complete` turns true with the first
    whole list and says that the rows are exactly those. `tag` other than 0: only missions with this tag.
    `refused` says that the peer has given no list since it refused to: the rows are of before that.
    """

    def __init__(self, tag: int = 0, *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.clear(tag)

    def clear(self, tag: int = 0) -> None:
        """Forget everything."""
        self.tag = tag
        self.list_id = 0
        self.seq = 0
        self.complete = False
        self.refused = False
        self._ids = array("I")
        self._rows: list[bytes] = []
        self._bytes = 0
        self._staged: _Staged | None = None

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, mission: int) -> bool:
        return self._at(mission)[1]

    def rows(self, limit: int | None = None) -> list[Row]:
        """Return the first `limit` rows (all without) by id."""
        return [decode(data) for data in self._rows[:limit]]

    def row(self, mission: int) -> Row | None:
        """Return one mission's row, None for an unknown mission."""
        at, there = self._at(mission)
        return decode(self._rows[at]) if there else None

    def abandon(self) -> None:
        """Forget the parts of an unfinished update."""
        self._staged = None

    def apply(self, update: Update) -> Applied | Gap:
        """Take in an update or a part of one; after a Gap the view is as before.

        Raises BadMessage for a list beyond the limits; then the view is empty.
        """
        state = (update.sub, update.list_id, update.prev_seq, update.last_seq, update.full)
        if self._staged is not None and self._staged.state != state:
            self._staged = None  # the owner has given up the rest of that one
        gap = self._gap(update)
        if gap is not None:
            return gap
        staged = self._staged = self._staged or _Staged(state)
        staged.add(update)
        self._limit(len(staged.rows), staged.size)
        self._limit(len(staged.removed) // 2, 0)
        if update.more:
            return Applied(done=False, changed=False)
        changed = self._replace(staged) if update.full else self._change(staged)
        first = not self.complete or self.refused
        self._staged = None
        self.list_id, self.seq, self.complete = update.list_id, update.last_seq, True
        self.refused = False
        return Applied(done=True, changed=changed or first)

    def _gap(self, update: Update) -> Gap | None:
        if update.list_id == self.list_id and update.last_seq < self.seq:
            return Gap(f"the state {update.last_seq}, which was before {self.seq}")
        if update.full:
            return None
        if not self.complete or update.list_id != self.list_id:
            return Gap("changes to another list")
        if update.prev_seq != self.seq:
            return Gap(f"changes since {update.prev_seq}, not {self.seq}")
        return None

    def _limit(self, rows: int, size: int) -> None:
        if rows > self._max_rows or size > self._max_bytes:
            self.clear(self.tag)
            raise BadMessage(f"a list of more than {self._max_rows} rows or {self._max_bytes} bytes")

    def _replace(self, staged: _Staged) -> bool:
        ids = array("I", sorted(staged.rows))
        rows = [staged.rows[mission] for mission in ids]
        if ids == self._ids and rows == self._rows:
            return False
        self._ids, self._rows, self._bytes = ids, rows, staged.size
        return True

    def _change(self, staged: _Staged) -> bool:
        changed = False
        for mission in staged.removed - staged.rows.keys():
            at, there = self._at(mission)
            if there:
                del self._ids[at]
                self._bytes -= len(self._rows.pop(at))
                changed = True
        for mission, data in staged.rows.items():
            changed |= self._put(mission, data)
        self._limit(len(self._ids), self._bytes)
        return changed

    def _put(self, mission: int, data: bytes) -> bool:
        at, there = self._at(mission)
        if not there:
            self._ids.insert(at, mission)
            self._rows.insert(at, data)
            self._bytes += len(data)
        elif self._rows[at] != data:
            self._bytes += len(data) - len(self._rows[at])
            self._rows[at] = data
        else:
            return False
        return True

    def _at(self, mission: int) -> tuple[int, bool]:
        """Return where a mission is or belongs, and whether it is there."""
        at = bisect_left(self._ids, mission)
        return at, at < len(self._ids) and self._ids[at] == mission
