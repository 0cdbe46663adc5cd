# SPDX-License-Identifier: Apache-2.0
"""Which processes have a lower oom_score_adj (proc(5)) for whose sake, and what each had before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

LOWEST = -900
Key = tuple[int, int]
"""Pid and start time in clock ticks."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as it was found; `score` is its oom_score_adj."""

    pid: int
    start_ticks: int
    score: int

    @property
    def key(self) -> Key:
        """What tells it from every other process."""
        return self.pid, self.start_ticks


@dataclass(frozen=True, slots=True)
class Change:
    """oom_score_adj of a process is to go from `before` to `after`."""

    pid: int
    start_ticks: int
    before: int
    after: int

    @property
    def key(self) -> Key:
        """Which process."""
        return self.pid, self.start_ticks


@dataclass(slots=True)
class _Hold:
    """What a process had before, has since, and for the sake of which wards."""

    before: int
    after: int
    wards: set[int] = field(default_factory=set)


class Protections:
    """Counts the wards that each process belongs to; the last one gives it back exactly what it had.

    A child inherits the lowered value. It is known as such by having one that was given out, and by
    having started after its ward: its value before is then that of the process it comes from.
    """

    def __init__(self) -> None:
        self._holds: dict[Key, _Hold] = {}
        self._since: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, ward: object) -> bool:
        return ward in self._since

    def begin(self, ward: int, since: int) -> None:
        """Have the ward; its first task started `since` (clock ticks since boot)."""
        self._since.setdefault(ward, since)

    def since(self, ward: int) -> int:
        """When it started."""
        return self._since[ward]

    def cover(self, ward: int, tree: Iterable[Seen], amount: int) -> list[Change]:
        """Add the ward's processes, and say what is to be changed: nothing where all is as it should be."""
        changes = []
        for seen in tree:
            hold = self._holds.get(seen.key)
            if hold is None:
                hold = self._new(seen, amount)
                if hold is None:
                    continue
                self._holds[seen.key] = hold
            hold.wards.add(ward)
            if seen.score == hold.before != hold.after:
                changes.append(Change(*seen.key, hold.before, hold.after))
        return changes

    def give_up(self, key: Key) -> None:
        """Forget a process that is gone, or can't be changed."""
        self._holds.pop(key, None)

    def end(self, ward: int, found: Iterable[Seen]) -> list[Change]:
        """Take the ward out; what is to be changed back.

        `found` are processes of its tree and around it: those of them that inherited go back as well,
        unless they were covered for another ward.
        """
        since = self._since.pop(ward)
        own = {key: hold for key, hold in self._holds.items() if ward in hold.wards}
        inverse = self._inverse(own.values())
        changes = []
        for key, hold in own.items():
            hold.wards.remove(ward)
            if not hold.wards:
                del self._holds[key]
                changes.append(Change(*key, hold.after, hold.before))
        for seen in found:
            if seen.key not in own and seen.key not in self._holds and seen.start_ticks >= since:
                before = inverse.get(seen.score)
                if before is not None:
                    changes.append(Change(*seen.key, seen.score, before))
        return changes

    def record(self, ward: int) -> list[list[int]]:
        """The ward's processes as plain data: pid, start, value before, value since."""
        return [[*key, hold.before, hold.after] for key, hold in self._holds.items() if ward in hold.wards]

    def restore(self, ward: int, since: int, rows: Iterable[list[int]]) -> None:
        """Take up what an earlier run wrote down."""
        self.begin(ward, since)
        for pid, start_ticks, before, after in rows:
            self._holds.setdefault((pid, start_ticks), _Hold(before, after)).wards.add(ward)

    def _new(self, seen: Seen, amount: int) -> _Hold | None:
        """None where there is nothing to lower."""
        earliest = min(self._since.values(), default=0)
        if seen.start_ticks >= earliest:
            before = self._inverse(self._holds.values()).get(seen.score)
            if before is not None:
                return _Hold(before, seen.score)
        after = max(seen.score + amount, LOWEST)
        return _Hold(seen.score, after) if after < seen.score else None

    @staticmethod
    def _inverse(holds: Iterable[_Hold]) -> dict[int, int]:
        """Lowered value to the one before; the lowest where several came to the same."""
        inverse: dict[int, int] = {}
        for hold in holds:
            if hold.after < hold.before:
                inverse[hold.after] = min(hold.before, inverse.get(hold.after, hold.before))
        return inverse
