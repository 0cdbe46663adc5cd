# SPDX-License-Identifier: Apache-2.0
"""How much delay an application has used in the running period.

Overlapping requests of one application burn its quota once, so what is kept is a set of disjoint
intervals, each leaving the account exactly one period after it was used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from missiond.common.clock import Clock
from missiond.core.tasks.intervals import fold, union
from missiond.core.tasks.owner import App
from missiond.core.tasks.shares import Shares

MAX_INTERVALS = 48
"""Intervals kept of one application: twice as many are folded to so many, never in favour of the owner."""

MAX_APPS = 256
"""Applications of one person with an account; more get nothing until an account is empty again."""

MAX_INTERVALS_OF_PERSON = 1024
"""Intervals of all applications of one person; halved once there are more."""

MAX_ACCOUNTS = 16_384
"""Accounts of all people together, divided by Shares."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Time used by an application, in ms of the core's clock (negative: before this boot)."""

    app: App
    start: int
    end: int


@dataclass(slots=True)
class _Account:
    person: int
    """Whose it was when it was opened."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    earlier: list[tuple[int, int]] = field(default_factory=list)
    """What was used before this boot, as old as the wall clock says."""
    live: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.spans) + len(self.earlier)

    @property
    def is_empty(self) -> bool:
        return not self.spans and not self.earlier and not self.live

    def add(self, start: int, end: int) -> None:
        """Add an interval that ends no earlier than those before."""
        oldest = min(self.live.values(), default=end)
        if start >= oldest:
            return  # a lease that still runs covers it
        while self.spans and self.spans[-1][1] >= start:
            before = self.spans.pop()
            start, end = min(start, before[0]), max(end, before[1])
        if end > start:
            self.spans.append((start, end))
        if len(self.spans) > 2 * MAX_INTERVALS:
            self.shorten(MAX_INTERVALS)

    def shorten(self, most: int) -> None:
        """Fold to at most so many intervals of this boot, and of earlier ones."""
        if self.spans:
            oldest = min(self.live.values(), default=self.spans[-1][1])
            self.spans = fold(self.spans, most, before=oldest)
        if self.earlier:
            self.earlier = fold(self.earlier, most, before=self.earlier[-1][1])

    def used(self, since: int, now: int) -> int:
        running = min(self.live.values(), default=now)
        total = now - max(running, since)
        for start, end in self.spans:
            total += max(0, min(end, running) - max(start, since))
        for start, end in self.earlier:
            total += max(0, end - max(start, since))
        return total

    def prune(self, since: int) -> None:
        for spans in (self.spans, self.earlier):
            ended = next((at for at, span in enumerate(spans) if span[1] > since), len(spans))
            del spans[:ended]


@dataclass(slots=True)
class _Person:
    """Accounts of one person, and how many intervals they had when that was last looked at, or more."""

    accounts: dict[App, _Account] = field(default_factory=dict)
    intervals: int = 0


class Quota:
    """Accounts of all applications. `amount` and `period` are ms.

    `person_of` tells from a uid who it is that has it: somebody may have thousands (subuid(5)).
    """

    def __init__(
        self, clock: Clock, amount: int, period: int, person_of: Callable[[int], int] = lambda uid: uid
    ) -> None:
        self._clock = clock
        self._amount = amount
        self._period = period
        self._lost_at: int | None = None
        """When it was found that nobody knows what was used: half of each quota counts as used then."""
        self._person_of = person_of
        self._accounts: dict[App, _Account] = {}
        self._people: dict[int, _Person] = {}
        self._shares = Shares(MAX_ACCOUNTS)

    def configure(self, amount: int, period: int) -> None:
        """Put another quota (both ms) in force."""
        self._amount = amount
        self._period = period

    def __len__(self) -> int:
        """How many accounts there are."""
        return len(self._shares)

    def restore(self, usages: Iterable[Usage]) -> None:
        """Take the use before in this boot, in any order; repetitions change nothing."""
        now = self._clock.now()
        for usage, account in self._accounts_for(usages):
            account.add(usage.start, min(usage.end, now))
            self._count_interval(account.person)

    def replace_earlier(self, usages: Iterable[Usage], lost_at: int | None = None) -> None:
        """Take these for all use before this boot, in place of earlier ones.

        `lost_at` is when it was found that nobody knows what was used.
        """
        self._lost_at = lost_at
        for account in self._accounts.values():
            account.earlier.clear()
        found: dict[int, tuple[_Account, list[tuple[int, int]]]] = {}
        for usage, account in self._accounts_for(usages):
            found.setdefault(id(account), (account, []))[1].append((usage.start, usage.end))
            self._count_interval(account.person)
        for account, spans in found.values():
            account.earlier = fold(union(spans), MAX_INTERVALS, before=self._clock.now())

    def remaining(self, app: App) -> int:
        """Return the ms left to the application, 0 to the quota."""
        now = self._clock.now()
        account = self._accounts.get(app)
        if account is None:
            if not self.may_open(app):
                return 0
            used = 0
        else:
            account.prune(now - self._period)
            used = account.used(now - self._period, now)
        if self._lost_at is not None and self._lost_at > now - self._period:
            used += self._amount // 2
        return max(0, self._amount - used)

    def may_open(self, app: App) -> bool:
        """Whether the application has an account, or could have one."""
        if app in self._accounts:
            return True
        person = self._person_of(app.uid)
        if self._has_room(person):
            return True
        self._tidy(person)
        return self._has_room(person)

    def begin(self, app: App, lease_id: int, start: int) -> None:
        """Begin to count a lease of the application, from `start`."""
        self._account(app).live[lease_id] = start

    def end(self, app: App, lease_id: int) -> Usage:
        """End a lease now, and return the use for the record."""
        account, now = self._account(app), self._clock.now()
        start = account.live.pop(lease_id)
        account.add(start, now)
        self._count_interval(account.person)
        return Usage(app, start, now)

    def running(self) -> list[Usage]:
        """Return the use of live leases so far."""
        now = self._clock.now()
        return [
            Usage(app, start, now)
            for app, account in self._accounts.items()
            for start in account.live.values()
        ]

    def known(self) -> list[Usage]:
        """Return all use in this boot and period, for the record; live leases count until now."""
        now = self._clock.now()
        ended = []
        for app, account in self._accounts.items():
            account.prune(now - self._period)
            ended += [Usage(app, start, end) for start, end in account.spans]
        return ended + self.running()

    def _accounts_for(self, usages: Iterable[Usage]) -> list[tuple[Usage, _Account]]:
        """Return what still counts, by time, with its accounts; of too many those used last are opened."""
        for person in list(self._people):
            self._tidy(person)
        now = self._clock.now()
        counting = [u for u in usages if u.end > now - self._period and u.end > u.start]
        counting.sort(key=lambda usage: min(usage.end, now))
        for app in dict.fromkeys(usage.app for usage in reversed(counting)):
            if app in self._accounts or self._can_hold(self._person_of(app.uid)):
                self._account(app)
        return [
            (usage, account) for usage in counting if (account := self._accounts.get(usage.app)) is not None
        ]

    def _account(self, app: App) -> _Account:
        account = self._accounts.get(app)
        if account is None:
            number = self._person_of(app.uid)
            account = self._accounts[app] = _Account(number)
            self._people.setdefault(number, _Person()).accounts[app] = account
            self._shares.take(app, number)
        return account

    def _can_hold(self, person: int) -> bool:
        return self._shares.of(person) < MAX_APPS and len(self._shares) < self._shares.most

    def _has_room(self, person: int) -> bool:
        return self._can_hold(person) and self._shares.has_room(person)

    def _count_interval(self, number: int) -> None:
        """Fold all intervals of a person where they are too many."""
        person = self._people[number]
        person.intervals += 1
        if person.intervals <= MAX_INTERVALS_OF_PERSON:
            return
        person.intervals = sum(map(len, person.accounts.values()))
        if person.intervals > MAX_INTERVALS_OF_PERSON // 2:
            most = max(1, MAX_INTERVALS_OF_PERSON // 4 // len(person.accounts))
            for account in person.accounts.values():
                account.shorten(most)
            person.intervals = sum(map(len, person.accounts.values()))

    def _tidy(self, number: int) -> None:
        """Close the person's empty accounts."""
        person = self._people.get(number)
        if person is None:
            return
        since = self._clock.now() - self._period
        for app, account in list(person.accounts.items()):
            account.prune(since)
            if account.is_empty:
                del person.accounts[app], self._accounts[app]
                self._shares.give_back(app)
        if not person.accounts:
            del self._people[number]
