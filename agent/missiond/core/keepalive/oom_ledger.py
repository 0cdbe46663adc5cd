# SPDX-License-Identifier: Apache-2.0
"""The ledger of lowered oom_score_adj (proc(5)): processes, wards, and the scores before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from missiond.core.keepalive.inherited_scores import Hold, Key, Origins, Scope, ScoreKind, Seen

LOWEST = -900


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A change of a process's oom_score_adj from `before` to `after`, the lower one."""

    pid: int
    start_ticks: int
    before: int
    after: int

    @property
    def key(self) -> Key:
        """Pid and start time of the process."""
        return self.pid, self.start_ticks


@dataclass(frozen=True, slots=True)
class ScoreRaise:
    """A raise of a process's oom_score_adj to `least` or more, and of the user's own limit with the score."""

    pid: int
    start_ticks: int
    least: int

    @property
    def key(self) -> Key:
        """Pid and start time of the process."""
        return self.pid, self.start_ticks


@dataclass(slots=True)
class _Leaving:
    """A ward that ends: what was held for it, and what was raised again."""

    holds: dict[Key, Hold]
    raised: set[Key] = field(default_factory=set)


class Protections:
    """The wards of each process; with the end of the last ward the process gets back the score of before.

    A child that inherited the lowered score belongs to what its parent belonged to, and would have what that
    had before. Nothing is ever lowered below what it would have by more than the amount; what a process
    raised by itself stays raised.
    """

    def __init__(self) -> None:
        self._holds: dict[Key, Hold] = {}
        self._scopes: dict[int, Scope] = {}
        self._leaving: dict[int, _Leaving] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, ward: object) -> bool:
        return ward in self._scopes

    def begin(self, ward: int, scope: Scope) -> None:
        """Add a ward, or keep one about to end."""
        self._scopes.setdefault(ward, scope)
        leaving = self._leaving.pop(ward, None)
        if leaving is not None:
            for key, hold in leaving.holds.items():
                self._holds.setdefault(key, hold).wards.add(ward)

    def scope(self, ward: int) -> Scope:
        """Return the possible places of a ward's heirs."""
        return self._scopes[ward]

    def terms(self, uid: int, domain: str) -> tuple[int, int] | None:
        """Return the first time and the floor of lowering of a user's processes there; None for never."""
        scopes = [each for each in self._scopes.values() if (each.uid, each.domain) == (uid, domain)]
        if not scopes:
            return None
        return min(each.since for each in scopes), min(each.floor for each in scopes)

    def cover(self, ward: int, tree: Iterable[Seen], amount: int) -> list[ScoreChange]:
        """Add the ward's processes, and return the scores to lower: none where all is right."""
        tree = list(tree)
        scope, held = self._view(ward)
        origins = Origins(tree, held, scope)
        changes = []
        for seen in tree:
            hold = self._holds.get(seen.key)
            if hold is None:
                hold = _new(seen, origins, amount)
                if hold is None:
                    continue
                self._holds[seen.key] = hold
            hold.wards.add(ward)
            hold.session = seen.session or hold.session
            if seen.score == hold.before > hold.after:
                changes.append(ScoreChange(*seen.key, hold.before, hold.after))
        return changes

    def lowered(self, key: Key) -> None:
        """Note a change as done: the score of before is never forgotten from now on."""
        if key in self._holds:
            self._holds[key].sure = True

    def give_up(self, key: Key) -> None:
        """Forget a process not lowered, since gone or unchangeable."""
        if key in self._holds and not self._holds[key].sure:
            del self._holds[key]

    def end(
        self, ward: int, found: Iterable[Seen], units: Mapping[int, str] | None = None
    ) -> tuple[list[ScoreRaise], set[int]]:
        """Remove a ward, and return the scores to raise and the other wards with new processes.

        `found` are processes of its tree, all of its user's, and the ancestors of these. `units` are wards
        that have tasks with their units' cgroups: what is in there is theirs. To be said again, with what is
        found then, until there is nothing to be raised any more, and `forget` after.
        """
        there = {seen.key: seen for seen in found}
        scope, held = self._view(ward)
        others = {key: hold for key, hold in self._holds.items() if hold.wards - {ward}}
        leaving = self._leaving.setdefault(ward, _Leaving({}))
        homes = _Homes(Origins(there.values(), others, scope), others, units or {})
        touched: set[int] = set()
        raises = []
        for key, hold in [item for item in self._holds.items() if ward in item[1].wards]:
            hold.wards.discard(ward)
            home = hold.wards or homes.of(there.get(key))
            hold.wards |= home
            touched |= home
            if not home:
                leaving.holds[key] = self._holds.pop(key)
        for key, hold in leaving.holds.items():
            if key not in leaving.raised:
                raises.append(ScoreRaise(*key, hold.before))
        origins = Origins(there.values(), {**held, **leaving.holds}, scope)
        for seen in there.values():
            if seen.key in self._holds or seen.key in leaving.holds or seen.key in leaving.raised:
                continue
            if seen.start_ticks < scope.since or homes.of(seen):
                continue
            origin = origins.of(seen)
            if (
                origin.kind is not ScoreKind.OWN
            ):  # where it is unclear, its user can't lower it by itself after
                raises.append(ScoreRaise(*seen.key, origin.before))
        leaving.raised |= {each.key for each in raises}
        return raises, touched

    def forget(self, ward: int) -> None:
        """Forget a ward with nothing left to do."""
        self._scopes.pop(ward, None)
        self._leaving.pop(ward, None)

    def record(self, ward: int) -> list[tuple[int, int, int, int]]:
        """Return the ward's processes as plain data: pid, start, value before, value since."""
        return [(*key, hold.before, hold.after) for key, hold in self._of(ward)]

    def restore(self, ward: int, scope: Scope, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Load the record of an earlier run."""
        self.begin(ward, scope)
        for pid, start_ticks, before, after in rows:
            self._holds.setdefault((pid, start_ticks), Hold(before, after, sure=True)).wards.add(ward)

    def _of(self, ward: int) -> Iterator[tuple[Key, Hold]]:
        yield from ((key, hold) for key, hold in self._holds.items() if ward in hold.wards)
        if ward in self._leaving:
            yield from self._leaving[ward].holds.items()

    def _view(self, ward: int) -> tuple[Scope, dict[Key, Hold]]:
        """All that was lowered where the ward is, for the same user, and the scope of all of that."""
        own = self._scopes[ward]
        alike = [
            number
            for number, scope in self._scopes.items()
            if (scope.uid, scope.domain) == (own.uid, own.domain)
        ]
        held = {key: hold for number in alike for key, hold in self._of(number)}
        above = frozenset[Key]().union(*(self._scopes[number].above for number in alike))
        since = min(self._scopes[number].since for number in alike)
        owners = frozenset[Key]().union(*(self._scopes[number].owners for number in alike))
        return Scope(own.uid, own.domain, since, own.floor, above, owners), held


class _Homes:
    """Which wards that have tasks a process belongs to, by descent or by unit."""

    def __init__(self, origins: Origins, held: Mapping[Key, Hold], units: Mapping[int, str]) -> None:
        self._origins = origins
        self._held = held
        self._units = units

    def of(self, seen: Seen | None) -> set[int]:
        """Their numbers."""
        if seen is None:
            return set()
        ancestor = self._origins.above(seen)
        home = set() if ancestor is None else set(self._held[ancestor].wards)
        inside = f"{seen.cgroup}/"
        return home | {ward for ward, unit in self._units.items() if inside.startswith(f"{unit}/")}


def _new(seen: Seen, origins: Origins, amount: int) -> Hold | None:
    """None where there is nothing to lower."""
    origin = origins.of(seen)
    before = seen.score
    if origin.kind is ScoreKind.HEIR and origin.before > seen.score:
        return Hold(origin.before, seen.score, sure=True)
    after = max(before + amount, LOWEST)
    return Hold(before, after) if after < before else None
