# SPDX-License-Identifier: Apache-2.0
"""How much delay an application has used in the running period.

Overlapping requests of one application burn its quota once, so what is kept is a set of disjoint
intervals, each leaving the account exactly one period after it was used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from missiond.core.clock import Clock
from missiond.core.intervals import fold
from missiond.core.owner import App

MAX_INTERVALS = 48
"""Of twice as many intervals of one application this many are made, never in its favour."""

MAX_APPS = 256
"""Applications of one user with an account; more get nothing until an account is empty again."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Time used by an application, in ms of the core's clock (negative: before this boot)."""

    app: App
    start: int
    end: int


@dataclass(slots=True)
class _Account:
    spans: list[tuple[int, int]] = field(default_factory=list)
    live: dict[int, int] = field(default_factory=dict)

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
            self.spans = fold(self.spans, MAX_INTERVALS, before=oldest)

    def used(self, since: int, now: int) -> int:
        running = min(self.live.values(), default=now)
        total = now - max(running, since)
        for start, end in self.spans:
            total += max(0, min(end, running) - max(start, since))
        return total

    def prune(self, since: int) -> None:
        while self.spans and self.spans[0][1] <= since:
            self.spans.pop(0)


class Quota:
    """Accounts of all applications. `amount` and `period` are ms."""

    def __init__(self, clock: Clock, amount: int, period: int) -> None:
        self._clock = clock
        self.amount = amount
        self.period = period
        self._accounts: dict[App, _Account] = {}
        self._apps_of: dict[int, int] = {}

    def restore(self, usages: Iterable[Usage]) -> None:
        """Take what was used before, in any order; saying something twice changes nothing."""
        now = self._clock.now()
        for usage in sorted(usages, key=lambda u: min(u.end, now)):
            if usage.end > now - self.period and usage.end > usage.start:
                self._account(usage.app).add(usage.start, min(usage.end, now))

    def remaining(self, app: App) -> int:
        """Ms that the application may still use, 0 to `amount`."""
        account = self._accounts.get(app)
        if account is None:
            self._tidy(app.uid)
            return self.amount if self._apps_of.get(app.uid, 0) < MAX_APPS else 0
        now = self._clock.now()
        account.prune(now - self.period)
        return max(0, self.amount - account.used(now - self.period, now))

    def begin(self, app: App, lease_id: int, start: int) -> None:
        """A lease of the application runs since `start`."""
        self._account(app).live[lease_id] = start

    def end(self, app: App, lease_id: int) -> Usage:
        """The lease ends now; what it used, for the record."""
        account, now = self._account(app), self._clock.now()
        start = account.live.pop(lease_id)
        account.add(start, now)
        return Usage(app, start, now)

    def running(self) -> list[Usage]:
        """What the live leases have used so far."""
        now = self._clock.now()
        return [
            Usage(app, start, now)
            for app, account in self._accounts.items()
            for start in account.live.values()
        ]

    def known(self) -> list[Usage]:
        """All that was used in the period, for the record; what live leases use ends now."""
        now = self._clock.now()
        ended = []
        for app, account in self._accounts.items():
            account.prune(now - self.period)
            ended += [Usage(app, start, end) for start, end in account.spans]
        return ended + self.running()

    def _account(self, app: App) -> _Account:
        account = self._accounts.get(app)
        if account is None:
            account = self._accounts[app] = _Account()
            self._apps_of[app.uid] = self._apps_of.get(app.uid, 0) + 1
        return account

    def _tidy(self, uid: int) -> None:
        """Close the user's empty accounts, once there are many."""
        if self._apps_of.get(uid, 0) < MAX_APPS:
            return
        since = self._clock.now() - self.period
        for app in [app for app in self._accounts if app.uid == uid]:
            account = self._accounts[app]
            account.prune(since)
            if not account.spans and not account.live:
                del self._accounts[app]
                self._apps_of[uid] -= 1
