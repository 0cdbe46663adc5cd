# SPDX-License-Identifier: Apache-2.0
"""Use of quotas by boot, moved from the clock of one boot to another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from missiond.core.tasks.intervals import Interval, fold, union
from missiond.store.quota_lines import QuotaLine, Stamp

# 2024-01-01: a wall clock before this was never set (some hosts have no battery for it) and proves nothing.
WALL_CLOCK_SET = 1_704_067_200_000

MAX_BOOTS = 512
MAX_APPS, MAX_APPS_OF_ONE = 65_536, 1024
"""Accounts, one for each application and boot: of all, and of one person. More than are made in a period."""
MAX_INTERVALS, MAX_INTERVALS_OF_ONE = 131_072, 48
"""Intervals of all accounts, and of one, folded to this number at twice as many."""

Key = tuple[int, str]
"""uid and name of an application."""
Placed = dict[Key, list[Interval]]
"""Usage on one boot's clock; times before the boot are negative."""


@dataclass(slots=True)
class Boot:
    """One boot: the first and last readings of the clocks, and the usage on the clock of the boot (ms)."""

    first: Stamp
    last: Stamp
    used: Placed = field(default_factory=dict)
    lost: int | None = None
    """Time of finding the record unreadable."""

    @property
    def counts(self) -> bool:
        """Whether the boot has any usage."""
        return bool(self.used) or self.lost is not None

    @property
    def earliest(self) -> int:
        """The first known moment of the boot."""
        starts = (start for spans in self.used.values() for start, _ in spans)
        return min(self.first.now, min(starts, default=self.first.now))


class Boots:
    """Usage of all boots from lines in order, bounded in memory for any content.

    Too many intervals are folded, never in favour of an application. Of too many accounts the latest stay,
    and who has most of them loses the first.
    """

    def __init__(self, person_of: Callable[[int], int]) -> None:
        self.boots: list[Boot] = []
        self.left_out = 0
        """Accounts that were not kept."""
        self._person_of = person_of
        self._persons: dict[int, int] = {}
        """By uid, as it was when its first account was made."""
        self._accounts: dict[int, OrderedDict[int, tuple[Boot, Key]]] = {}
        """Of each person, by the id of the list of intervals, the latest last."""
        self._apps = self._intervals = 0
        self._latest: Key | None = None
        self._name = ""
        self._now = self._wall = self._first = 0
        """Of the last boot: its name, how its clocks stood at last, and the first moment that is known."""

    def take(self, line: QuotaLine) -> None:
        """Take one in."""
        stamp = line.stamp
        boot = self._boot(stamp.boot, stamp.now, stamp.wall)
        if line.lost:
            boot.lost = stamp.now
        if line.app is not None:
            self._use(boot, line.app, line.start, line.end)

    def use(self, boot: str, now: int, wall: int, key: Key | None, start: int, end: int) -> None:
        """Take in the parts of a line; no key: only how the clocks stood."""
        if boot == self._name and now >= self._now:  # nearly always
            self._now, self._wall = now, wall
            current = self.boots[-1]
        else:
            current = self._boot(boot, now, wall)
        if key is not None:
            self._use(current, key, start, end)

    def _boot(self, name: str, now: int, wall: int) -> Boot:
        if name != self._name or not self.boots:
            self._begin(Stamp(name, now, wall))
        elif now >= self._now:
            self._now, self._wall = now, wall
        elif now < self._first:
            self._first = now
            self.boots[-1].first = Stamp(name, now, wall)
        return self.boots[-1]

    def finish(self) -> list[Boot]:
        """Return the boots, with sorted and disjoint intervals."""
        self._note_last()
        for boot in self.boots:
            boot.used = {key: union(spans) for key, spans in boot.used.items()}
        return self.boots

    def _note_last(self) -> None:
        if self.boots:
            self.boots[-1].last = Stamp(self._name, self._now, self._wall)

    def _begin(self, stamp: Stamp) -> None:
        self._note_last()
        self.boots.append(Boot(stamp, stamp))
        self._name, self._now, self._wall, self._first = stamp.boot, stamp.now, stamp.wall, stamp.now
        self._latest = None
        if len(self.boots) > MAX_BOOTS:
            gone = self.boots.pop(0)
            for key, spans in list(gone.used.items()):
                self._drop(self._persons[key[0]], id(spans))

    def _use(self, boot: Boot, key: Key, start: int, end: int) -> None:
        spans = boot.used.get(key)
        if spans is None:
            spans = self._open(boot, key)
        elif key != self._latest:
            self._accounts[self._persons[key[0]]].move_to_end(id(spans))
        self._latest = key
        if spans:
            first, last = spans[-1]
            if first <= start <= last:
                spans[-1] = (first, max(end, last))
                return
        spans.append((start, end))
        self._intervals += 1
        if len(spans) > 2 * MAX_INTERVALS_OF_ONE:
            self._shorten(spans, MAX_INTERVALS_OF_ONE)
        if self._intervals > MAX_INTERVALS:
            for each in self.boots:
                for other in each.used.values():
                    self._shorten(other, max(1, len(other) // 2))

    def _open(self, boot: Boot, key: Key) -> list[Interval]:
        """Make an account, for which others may have to go."""
        person = self._person(key[0])
        accounts = self._accounts.setdefault(person, OrderedDict())
        spans: list[Interval] = []
        boot.used[key] = spans
        accounts[id(spans)] = boot, key
        self._apps += 1
        if len(accounts) > MAX_APPS_OF_ONE:
            self._drop(person, next(iter(accounts)))
        if self._apps > MAX_APPS:
            self._drop_many()
        return spans

    def _person(self, uid: int) -> int:
        known = self._persons.get(uid)
        if known is None:
            if len(self._persons) >= 2 * MAX_APPS:
                kept = {key[0] for boot in self.boots for key in boot.used}
                self._persons = {uid: self._persons[uid] for uid in kept}
            known = self._persons[uid] = self._person_of(uid)
        return known

    def _shorten(self, spans: list[Interval], most: int) -> None:
        before = len(spans)
        together = union(spans)
        spans[:] = fold(together, most, before=together[-1][1]) if together else []
        self._intervals -= before - len(spans)

    def _drop(self, person: int, account: int) -> None:
        accounts = self._accounts[person]
        boot, key = accounts.pop(account)
        if not accounts:
            del self._accounts[person]
        self._intervals -= len(boot.used.pop(key))
        self._apps -= 1
        self.left_out += 1

    def _drop_many(self) -> None:
        """Take away half of what each person has, of those with most first, until a quarter is free."""
        by_count: dict[int, list[int]] = {}
        for person, accounts in self._accounts.items():
            by_count.setdefault(len(accounts), []).append(person)
        for count in sorted(by_count, reverse=True):
            for person in by_count[count]:
                for account in list(islice(self._accounts[person], (count + 1) // 2)):
                    self._drop(person, account)
                if self._apps <= MAX_APPS * 3 // 4:
                    return


def apart(boots: list[Boot], now: Stamp) -> tuple[list[Boot], Boot | None]:
    """Return the earlier boots, and the present one.

    A clock that went back within a boot (a machine restored from a snapshot) is like another boot.
    """
    if boots and boots[-1].last.boot == now.boot and boots[-1].last.now <= now.now:
        return boots[:-1], boots[-1]
    return boots, None


def shifts(earlier: list[Boot], now: Stamp, since: int) -> list[int]:
    """Return the shift of each boot's times to this boot's clock (ms).

    All usage of one boot moves as one, so that what did not overlap still does not. How long ago another
    boot's last line was is what the wall clocks say, that of the present boot as it stands now and those of
    others as they stood at last: a clock that is set late in a boot counts for all of it. When they say less
    than nothing, or were not set, no time has passed. Usage of an earlier boot also ended before a later one
    began, and all of it before `since`. An error of the clocks can so only make usage look more recent than
    it was, except a wall clock that was set too far forward meanwhile, which nothing here could notice.
    """
    found: list[int] = []
    following, latest, began = now, since, 0
    for boot in reversed(earlier):
        if boot.last.boot != following.boot:
            latest = min(latest, began)
        shift = min(latest, following.now - _passed(boot.last.wall, following.wall)) - boot.last.now
        found.append(shift)
        following = Stamp(boot.last.boot, boot.last.now + shift, boot.last.wall)
        latest, began = boot.earliest + shift, shift
    return found[::-1]


def place(earlier: list[Boot], now: Stamp, since: int) -> Placed:
    """Move the usage of earlier boots to this boot's clock, before `since`."""
    apps: Placed = {}
    for boot, shift in zip(earlier, shifts(earlier, now, since), strict=True):
        for key, spans in boot.used.items():
            apps.setdefault(key, []).extend((start + shift, end + shift) for start, end in spans)
    return apps


def still_counting(earlier: Iterable[Boot], moved: list[int], since: int) -> list[Boot]:
    """Return the earlier boots without usage before `since`, on this boot's clock.

    `moved` is what `shifts` said. A boot without usage stays where it says how old one before it is.
    """
    kept: list[Boot] = []
    for boot, shift in zip(earlier, moved, strict=True):
        used = {
            key: left
            for key, spans in boot.used.items()
            if (left := [span for span in spans if span[1] + shift > since])
        }
        lost = boot.lost if boot.lost is not None and boot.lost + shift > since else None
        rest = Boot(boot.first, boot.last, used, lost)
        if kept or rest.counts:
            kept.append(rest)
    return kept


def _passed(then: int, now: int) -> int:
    return max(0, now - then) if then >= WALL_CLOCK_SET else 0
