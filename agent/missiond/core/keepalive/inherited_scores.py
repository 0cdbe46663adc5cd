# SPDX-License-Identifier: Apache-2.0
"""The inheritance of lowered oom_score_adj (proc(5)): processes with such a score, and the score without.

A child has what its parent had when it was forked, and keeps that wherever it goes. While its parent lives
that is plain. Without it the kernel names an ancestor instead, and what is left as evidence is whose the
process is, when it started, where it may have come from, and what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from missiond.core.missions.people import may_be_named

Key = tuple[int, int]
"""Pid and start time in clock ticks."""

_INIT = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """A process as found; `score` is the oom_score_adj, `session` the one of setsid(2)."""

    pid: int
    start_ticks: int
    score: int
    parent: int = 0
    uid: int = -1
    session: int = 0
    cgroup: str = ""

    @property
    def key(self) -> Key:
        """Pid and start time, unique among all processes."""
        return self.pid, self.start_ticks


@dataclass(frozen=True, slots=True)
class Scope:
    """The possible places of processes with scores inherited from a ward.

    They are of user `uid`, and in `domain`, which nobody leaves without privilege; they started `since`
    (clock ticks after boot). Nothing of that user's was below `floor` there before. `above` are ancestors of
    the ward, to whom its orphans come. `owners` inherited nothing, though one may have started in that tick.
    """

    uid: int
    domain: str
    since: int
    floor: int
    above: frozenset[Key] = frozenset()
    owners: frozenset[Key] = frozenset()


@dataclass(slots=True)
class Hold:
    """The scores of a process before and after lowering, and the wards in question.

    `session` is 0 where it is not known. `sure`: it was lowered, or may have been.
    """

    before: int
    after: int
    session: int = 0
    sure: bool = False
    wards: set[int] = field(default_factory=set)


class ScoreKind(Enum):
    """The knowledge of the origin of a process's score."""

    HEIR = "from one that was lowered"
    OWN = "from elsewhere"
    UNCLEAR = "from elsewhere, as far as can be told"


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of one process's score: the score without us, and the lowered ancestor, if alive.

    Of an unclear one `before` is what its parent has, or itself where that is less.
    """

    kind: ScoreKind
    before: int = 0
    ancestor: Key | None = None


_OWN = Origin(ScoreKind.OWN)


def first_owners(owner: Key, began: int, since: int) -> frozenset[Key]:
    """Return the owner where nothing was lowered before the ward began; a later one may be an heir."""
    return frozenset({owner} if began == since else ())


def domain_of(cgroup: str) -> str:
    """Return the bounds of a process in the hierarchy (cgroups(7)): a user's slice, or a unit."""
    parts = cgroup.split("/")
    if parts[0] == "user.slice" and len(parts) > 1:
        return "/".join(parts[:2])
    for number, part in enumerate(parts, 1):
        if part.endswith((".service", ".scope")):
            return "/".join(parts[:number])
    return cgroup


def is_of(uid: int, process_uid: int, cgroup: str) -> bool:
    """Whether a process is a user's, or in a container of this user (subuid(5))."""
    return process_uid == uid or (
        may_be_named(process_uid) and f"{cgroup}/".startswith(f"user.slice/user-{uid}.slice/")
    )


def floor_of(domain: str, scores: Iterable[int]) -> int:
    """Return the lowest score in a domain without lowering, given `scores`; a login has 0."""
    lowest = min(scores, default=0)
    return min(lowest, 0) if domain.startswith("user.slice/") else lowest


class Origins:
    """The origins of processes found together, with all ancestors among the processes where possible."""

    def __init__(self, found: Iterable[Seen], held: Mapping[Key, Hold], scope: Scope) -> None:
        self._found = {seen.pid: seen for seen in found}
        self._held = held
        self._scope = scope
        self._known: dict[Key, Origin] = {}
        before = [
            seen
            for seen in self._found.values()
            if seen.uid == scope.uid and seen.start_ticks < scope.since and seen.key not in held
        ]
        self._usual = {seen.score for seen in before}
        self._sessions = {seen.session for seen in before}

    def of(self, seen: Seen) -> Origin:
        """Return the origin of a process without a hold."""
        line = [seen]
        while line[-1].key not in self._known:
            origin = self._direct(line[-1])
            if origin is not None:
                self._known[line[-1].key] = origin
            elif len(line) > len(self._found):  # looked at while pids changed: nobody is the own ancestor
                self._known[line[-1].key] = self._guess(line[-1])
            else:  # as its parent, which started since and is not known either
                line.append(self._found[line[-1].parent])
        while len(line) > 1:
            parent = self._known[line.pop().key]
            self._known[line[-1].key] = self._guess(line[-1]) if parent.kind is ScoreKind.UNCLEAR else parent
        return self._known[seen.key]

    def above(self, seen: Seen) -> Key | None:
        """Return the nearest live ancestor with a hold."""
        passed: set[Key] = set()
        parent = self._parent(seen)
        while parent is not None and parent.key not in passed:
            if parent.key in self._held:
                return parent.key
            passed.add(parent.key)
            parent = self._parent(parent)
        return None

    def _direct(self, seen: Seen) -> Origin | None:
        """Tell the origin without the parent's; None where the parent has to be known first."""
        if seen.start_ticks < self._scope.since or seen.parent == 0 or seen.key in self._scope.owners:
            return _OWN
        parent = self._parent(seen)
        if parent is None:
            return self._guess(seen)
        if parent.key in self._held:
            return Origin(ScoreKind.HEIR, self._held[parent.key].before, parent.key)
        if parent.pid == _INIT or parent.key in self._scope.above:
            return self._guess(seen)
        return _OWN if parent.start_ticks < self._scope.since else None

    def _guess(self, seen: Seen) -> Origin:
        """Judge an orphan, or a child of whom orphans come to."""
        scope = self._scope
        if not is_of(scope.uid, seen.uid, seen.cgroup) or domain_of(seen.cgroup) != scope.domain:
            return _OWN
        fits = [hold for hold in self._held.values() if hold.after <= seen.score < hold.before]
        if seen.score < self._scope.floor:
            return Origin(ScoreKind.HEIR, max((hold.before for hold in fits), default=self._scope.floor))
        exact = [hold for hold in fits if hold.after == seen.score]
        likely = exact or fits
        parent = self._parent(seen)
        if likely and parent is not None and _is_less_than_of_manager(seen, parent):
            return Origin(ScoreKind.HEIR, max(hold.before for hold in likely))
        if not likely or self._is_service(seen, exact) or not self._is_odd(seen, exact):
            above = scope.floor if parent is None else max(scope.floor, parent.score)
            return Origin(ScoreKind.UNCLEAR, min(seen.score, above))
        return Origin(ScoreKind.HEIR, max(hold.before for hold in likely))

    def _is_odd(self, seen: Seen, exact: list[Hold]) -> bool:
        """Whether it has a score that nothing else explains than one that was lowered."""
        if not exact:
            return seen.score not in self._usual
        parent = self._parent(seen)
        if parent is None or parent.score != seen.score:
            return True
        return seen.session in {hold.session for hold in exact} - self._sessions - {0}

    def _is_service(self, seen: Seen, exact: list[Hold]) -> bool:
        """Whether it is what a service manager starts: the first of a service, in a session of its own.

        What has just what was given out, and nobody had before, is none: it has left its family by setsid(2).
        """
        if exact and seen.score not in self._usual:
            return False
        parent = self._parent(seen)
        if parent is None or not (parent.pid == _INIT or parent.cgroup.endswith("/init.scope")):
            return False
        if seen.session != seen.pid or not seen.cgroup.endswith(".service"):
            return False
        inside = [each.start_ticks for each in self._found.values() if each.cgroup == seen.cgroup]
        return min(inside) == seen.start_ticks

    def _parent(self, seen: Seen) -> Seen | None:
        parent = self._found.get(seen.parent)
        return parent if parent is not None and parent.start_ticks <= seen.start_ticks else None


def _is_less_than_of_manager(seen: Seen, parent: Seen) -> bool:
    """Whether a process has less than the manager of its user, which starts nothing with less than itself."""
    return parent.pid != _INIT and parent.cgroup.endswith("/init.scope") and seen.score < parent.score
