# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.core.tasks import quota as quotas
from missiond.core.tasks.owner import App
from missiond.core.tasks.quota import MAX_APPS, MAX_INTERVALS, Quota, Usage
from standins.worlds.clock import FakeClock

APP = App(1000, "upload")
DAY = 86_400_000
AMOUNT = 600_000
STEPS = st.lists(
    st.tuples(st.sampled_from(["begin", "end", "wait"]), st.integers(1, 400_000)), min_size=1, max_size=60
)


def quota_at(now: int = 10 * DAY) -> tuple[FakeClock, Quota]:
    clock = FakeClock(now)
    return clock, Quota(clock, AMOUNT, DAY)


def test_an_unknown_application_has_everything() -> None:
    _, quota = quota_at()
    assert quota.remaining(APP) == AMOUNT


def test_time_is_charged_while_it_runs_and_after() -> None:
    clock, quota = quota_at()
    quota.begin(APP, 1, clock.now())
    clock.advance(1_000)
    assert quota.remaining(APP) == AMOUNT - 1_000
    assert quota.end(APP, 1) == Usage(APP, clock.now() - 1_000, clock.now())
    clock.advance(5_000)
    assert quota.remaining(APP) == AMOUNT - 1_000


def test_overlapping_requests_burn_once() -> None:
    clock, quota = quota_at()
    quota.begin(APP, 1, clock.now())
    clock.advance(10_000)
    quota.begin(APP, 2, clock.now())
    clock.advance(10_000)
    quota.end(APP, 1)
    assert quota.remaining(APP) == AMOUNT - 20_000
    clock.advance(10_000)
    quota.end(APP, 2)
    assert quota.remaining(APP) == AMOUNT - 30_000


def test_usage_leaves_the_account_exactly_one_period_later() -> None:
    clock, quota = quota_at()
    quota.begin(APP, 1, clock.now())
    clock.advance(60_000)
    quota.end(APP, 1)
    clock.advance(DAY - 60_000)
    assert quota.remaining(APP) == AMOUNT - 60_000
    clock.advance(30_000)
    assert quota.remaining(APP) == AMOUNT - 30_000
    clock.advance(30_000)
    assert quota.remaining(APP) == AMOUNT


def test_applications_and_users_do_not_share() -> None:
    clock, quota = quota_at()
    quota.begin(APP, 1, clock.now())
    clock.advance(1_000)
    assert quota.remaining(App(1000, "other")) == AMOUNT
    assert quota.remaining(App(1001, "upload")) == AMOUNT


def test_what_is_restored_counts_and_repetition_does_not() -> None:
    clock, quota = quota_at()
    now = clock.now()
    usage = Usage(APP, now - 50_000, now - 20_000)
    quota.restore(
        [usage, usage, Usage(APP, now - 30_000, now - 10_000), Usage(APP, now - 3 * DAY, now - 2 * DAY)]
    )
    assert quota.remaining(APP) == AMOUNT - 40_000


def test_a_user_cannot_open_accounts_without_end() -> None:
    clock, quota = quota_at()
    for number in range(MAX_APPS):
        app = App(1000, f"app{number}")
        quota.begin(app, number, clock.now())
        clock.advance(1)
        quota.end(app, number)
    assert quota.remaining(App(1000, "one-more")) == 0
    assert quota.remaining(App(1001, "one-more")) == AMOUNT
    clock.advance(DAY)
    assert quota.remaining(App(1000, "one-more")) == AMOUNT


@given(
    st.lists(
        st.tuples(st.integers(1, 60_000), st.integers(1, 60_000)), min_size=1, max_size=3 * MAX_INTERVALS
    )
)
def test_folding_never_favours_the_application(steps: list[tuple[int, int]]) -> None:
    clock, quota = quota_at()
    exact: list[tuple[int, int]] = []
    for number, (pause, work) in enumerate(steps):
        clock.advance(pause)
        start = clock.now()
        quota.begin(APP, number, start)
        clock.advance(work)
        quota.end(APP, number)
        exact.append((start, clock.now()))
    for _ in range(50):
        since = clock.now() - DAY
        used = sum(max(0, end - max(start, since)) for start, end in exact)
        assert quota.remaining(APP) <= max(0, AMOUNT - used)
        clock.advance(DAY // 40)
    assert quota.remaining(APP) == AMOUNT


@given(STEPS)
def test_used_is_the_measure_of_the_union(steps: list[tuple[str, int]]) -> None:
    clock, quota = quota_at()
    busy: list[tuple[int, int]] = []
    live: list[int] = []
    for number, (verb, wait) in enumerate(steps):
        if verb == "begin":
            quota.begin(APP, number, clock.now())
            live.append(number)
        elif verb == "end" and live:
            quota.end(APP, live.pop(0))
        if live:
            busy.append((clock.now(), clock.now() + wait))
        clock.advance(wait)
        if len(busy) < MAX_INTERVALS:
            used = sum(end - start for start, end in busy)
            assert quota.remaining(APP) == max(0, AMOUNT - used)


def test_folding_under_a_longer_lease_loses_nothing() -> None:
    clock, quota = quota_at()
    exact: list[tuple[int, int]] = []

    def short(number: int) -> None:
        start = clock.now()
        quota.begin(APP, number, start)
        clock.advance(100)
        quota.end(APP, number)
        exact.append((start, clock.now()))
        clock.advance(50)

    for number in range(2 * MAX_INTERVALS):
        short(number)
    began = clock.now()
    quota.begin(APP, 9_999, began)
    for number in range(200, 260):
        short(number)
    quota.end(APP, 9_999)
    exact = [span for span in exact if span[0] < began] + [(began, clock.now())]
    assert quota.remaining(APP) <= AMOUNT - sum(end - start for start, end in exact)


@given(STEPS)
def test_what_is_known_is_all_that_counts(steps: list[tuple[str, int]]) -> None:
    """Who starts again with it, and with what still runs, is no better off."""
    clock, quota = quota_at()
    live: list[int] = []
    for number, (verb, wait) in enumerate(steps):
        if verb == "begin":
            quota.begin(APP, number, clock.now())
            live.append(number)
        elif verb == "end" and live:
            quota.end(APP, live.pop(0))
        clock.advance(wait)
    again = Quota(clock, AMOUNT, DAY)
    again.restore(quota.known())
    assert again.remaining(APP) == quota.remaining(APP)
    clock.advance(DAY)
    assert again.known() == []
    assert quota.known() == quota.running()


def use(clock: FakeClock, quota: Quota, app: App, ms: int = 1) -> None:
    quota.begin(app, 1, clock.now())
    clock.advance(ms)
    quota.end(app, 1)


def test_a_person_is_one_whatever_uids_they_have() -> None:
    clock = FakeClock(10 * DAY)
    quota = Quota(clock, AMOUNT, DAY, lambda uid: 1000 if uid >= 100_000 else uid)
    for number in range(MAX_APPS):
        use(clock, quota, App(100_000 + number, "app"))
    assert not quota.may_open(App(200_000, "app"))
    assert not quota.may_open(App(1000, "app"))
    assert quota.remaining(App(1000, "app")) == 0
    assert quota.may_open(App(100_000, "app"))
    assert quota.may_open(App(1001, "app"))
    assert len(quota) == MAX_APPS
    clock.advance(DAY)
    assert quota.remaining(App(1000, "app")) == AMOUNT


def test_however_many_people_there_are_accounts_are_bounded_and_root_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quotas, "MAX_ACCOUNTS", 256)
    clock, quota = quota_at()
    for uid in range(1000, 1400):
        for number in range(100):
            app = App(uid, f"app{number}")
            if quota.may_open(app):
                use(clock, quota, app)
    assert 200 < len(quota) < 256
    assert quota.may_open(App(0, "app"))
    again = Quota(clock, AMOUNT, DAY)
    again.restore(quota.known())
    assert len(again) == len(quota)


def test_of_too_much_to_restore_the_latest_of_each_is_taken() -> None:
    clock, quota = quota_at()
    now = clock.now()
    quota.restore(Usage(App(1000, f"app{n}"), now - 10_000 + n, now - 9_000 + n) for n in range(2 * MAX_APPS))
    assert quota.remaining(App(1000, f"app{2 * MAX_APPS - 1}")) == AMOUNT - 1000
    assert quota.remaining(App(1000, "app0")) == 0
    assert len(quota) == MAX_APPS


def test_all_applications_of_a_person_together_have_few_intervals() -> None:
    clock, quota = quota_at()
    for round_ in range(30):
        for number in range(MAX_APPS):
            use(clock, quota, App(1000, f"app{number}"), 10)
            clock.advance(5)
        used = sum(u.end - u.start for u in quota.known())
        assert used == 10 * MAX_APPS * (round_ + 1)
        assert len(quota.known()) <= quotas.MAX_INTERVALS_OF_PERSON + 1


def test_what_was_used_before_this_boot_can_be_placed_anew() -> None:
    clock, quota = quota_at(1000)
    use(clock, quota, APP, 1000)
    quota.replace_earlier([Usage(APP, -500_000, 0), Usage(App(1000, "other"), -500_000, -400_000)])
    assert quota.remaining(APP) == AMOUNT - 501_000
    assert quota.known() == [Usage(APP, 1000, 2000)]
    quota.replace_earlier([Usage(APP, -500_000 - DAY, -DAY)])
    assert quota.remaining(APP) == AMOUNT - 1000
    assert quota.remaining(App(1000, "other")) == AMOUNT
    quota.replace_earlier([Usage(APP, -DAY, 5_000 - DAY)])
    assert quota.remaining(APP) == AMOUNT - 1000 - 3000
    clock.advance(3000)
    assert quota.remaining(APP) == AMOUNT - 1000


def test_where_nobody_knows_what_was_used_half_counts_as_used_for_a_period() -> None:
    clock, quota = quota_at()
    quota.replace_earlier([], lost_at=clock.now())
    use(clock, quota, APP, 1000)
    assert quota.remaining(APP) == AMOUNT // 2 - 1000
    assert quota.remaining(App(1001, "any")) == AMOUNT // 2
    clock.advance(DAY)
    assert quota.remaining(APP) == AMOUNT
