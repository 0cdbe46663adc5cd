# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from missiond.core.power.level import PowerLevel
from missiond.core.tasks.lease import Cause
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.quota import Quota
from missiond.core.tasks.transient import TransientLimits, TransientTask, TransientTasks
from missiond.errors import CallerVerificationFailed, InvalidParameter, TransientTaskVerificationFailed
from standins.examples import examples
from standins.worlds.clock import FakeClock

DAY = 86_400_000
APP = App(1000, "upload")
OWNER = Owner(pid=42, start_ticks=7, app=APP)


class Desk:
    """Grants and adds, as the application does."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.quota = Quota(self.clock, 600_000, DAY)
        self.tasks = TransientTasks(self.clock, self.quota, TransientLimits())
        self.last = 0

    def request(
        self, owner: Owner = OWNER, delay: int | None = None, level: PowerLevel = PowerLevel.NORMAL
    ) -> TransientTask:
        granted = self.tasks.grant(owner.app, delay, level)
        self.last += 1
        now = self.clock.now()
        task = TransientTask(
            id=self.last, owner=owner, requester=owner.app, started=now, reason="x", deadline=now + granted
        )
        self.tasks.add(task)
        return task


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("delay", "level", "granted"),
    [
        (None, PowerLevel.NORMAL, 180_000),
        (None, PowerLevel.LOW, 60_000),
        (1, PowerLevel.NORMAL, 1),
        (2**32 - 1, PowerLevel.NORMAL, 180_000),
        (90_000, PowerLevel.LOW, 60_000),
    ],
)
def test_what_is_granted(desk: Desk, delay: int | None, level: PowerLevel, granted: int) -> None:
    assert desk.tasks.grant(APP, delay, level) == granted


def test_a_delay_of_zero_is_refused(desk: Desk) -> None:
    with pytest.raises(InvalidParameter):
        desk.tasks.grant(APP, 0, PowerLevel.NORMAL)


def test_nothing_is_granted_on_a_critical_battery(desk: Desk) -> None:
    with pytest.raises(TransientTaskVerificationFailed, match="9900002: the battery is critical"):
        desk.tasks.grant(APP, None, PowerLevel.CRITICAL)


def test_counts_are_checked_before_the_quota(desk: Desk) -> None:
    for _ in range(3):
        desk.request()
    desk.clock.advance(170_000)
    desk.quota.configure(0, DAY)
    with pytest.raises(TransientTaskVerificationFailed, match="3 requests"):
        desk.request()


def test_refused_under_the_minimum_quota(desk: Desk) -> None:
    desk.quota.configure(16_000, DAY)
    assert desk.request().actual_delay == 16_000
    desk.clock.advance(1)
    with pytest.raises(TransientTaskVerificationFailed, match="15999 ms of quota"):
        desk.request()


def test_ids_of_others_are_as_unknown_as_unknown_ones(desk: Desk) -> None:
    task = desk.request()
    assert desk.tasks.find(task.id, 1000) is task
    assert desk.tasks.find(task.id, 0) is task
    for request_id, uid in ((task.id, 1001), (99, 1000), (2**32 - 1, 1000)):
        with pytest.raises(CallerVerificationFailed):
            desk.tasks.find(request_id, uid)
    with pytest.raises(InvalidParameter):
        desk.tasks.find(0, 1000)


def test_a_warning_and_an_end_once_each(desk: Desk) -> None:
    task = desk.request()
    assert desk.tasks.next_due() == task.deadline - 6_000
    desk.clock.advance(174_000)
    assert desk.tasks.due() == ([task], [])
    assert desk.tasks.due() == ([], [])
    assert desk.tasks.next_due() == task.deadline
    desk.clock.advance(6_000)
    assert desk.tasks.due() == ([], [(task, Cause.EXPIRED)])


def test_a_short_request_is_warned_at_once(desk: Desk) -> None:
    task = desk.request(delay=2_000)
    assert desk.tasks.due() == ([task], [])


def test_over_after_a_long_sleep_without_a_warning(desk: Desk) -> None:
    task = desk.request()
    desk.clock.advance(10 * DAY)
    assert desk.tasks.due() == ([], [(task, Cause.EXPIRED)])


def test_low_battery_cuts_to_a_minute_in_all(desk: Desk) -> None:
    task = desk.request()
    desk.clock.advance(10_000)
    assert desk.tasks.battery_low() == [task]
    assert task.actual_delay == 60_000
    assert desk.tasks.battery_low() == []
    desk.clock.advance(44_000)
    assert desk.tasks.due() == ([task], [])
    desk.clock.advance(6_000)
    assert desk.tasks.due() == ([], [(task, Cause.BATTERY_LOW)])


def test_low_battery_leaves_the_warning_time(desk: Desk) -> None:
    task = desk.request()
    desk.clock.advance(100_000)
    assert desk.tasks.battery_low() == [task]
    assert desk.tasks.remaining(task) == 6_000
    assert desk.tasks.due() == ([task], [])
    desk.clock.advance(6_000)
    assert desk.tasks.due() == ([], [(task, Cause.BATTERY_LOW)])


def test_low_battery_never_lengthens(desk: Desk) -> None:
    task = desk.request(delay=20_000)
    desk.clock.advance(17_000)
    assert desk.tasks.battery_low() == []
    assert desk.tasks.remaining(task) == 3_000


def test_the_requesters_application_sees_it_too(desk: Desk) -> None:
    task = desk.request()
    task.requester = App(1000, "busctl")
    assert desk.tasks.of(APP) == desk.tasks.of(App(1000, "busctl")) == [task]
    assert desk.tasks.of(App(1001, "upload")) == []


def test_the_lock_says_who_and_why(desk: Desk) -> None:
    task = desk.request()
    task.reason = "saving\x07\u2028photos" + "!" * 1000
    lock = task.lock
    assert lock.what_text == "sleep"
    assert lock.who == "upload (pid 42, uid 1000)"
    assert lock.why.startswith("transient task 1: saving")
    assert lock.why.isprintable()
    assert len(lock.why) <= 256


class Life(RuleBasedStateMachine):
    """Whatever happens, nobody gets more than the limits allow."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.level = PowerLevel.NORMAL
        self.spans: dict[App, list[tuple[int, int]]] = {}

    @rule(app=st.sampled_from([APP, App(1001, "other")]), delay=st.one_of(st.none(), st.integers(1, 300_000)))
    def request(self, app: App, delay: int | None) -> None:
        try:
            task = self.desk.request(Owner(42, 7, app), delay, self.level)
        except TransientTaskVerificationFailed:
            return
        assert task.actual_delay <= (180_000 if self.level is PowerLevel.NORMAL else 60_000)

    @precondition(lambda self: len(self.desk.tasks) > 0)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.end(data.draw(st.sampled_from(list(self.desk.tasks))))

    @rule(ms=st.integers(0, 200_000))
    def wait(self, ms: int) -> None:
        target = self.desk.clock.now() + ms
        while (due := self.desk.tasks.next_due()) is not None and due <= target:
            self.desk.clock.advance(max(0, due - self.desk.clock.now()))
            for task, _ in self.desk.tasks.due()[1]:
                self.end(task)
        self.desk.clock.advance(target - self.desk.clock.now())

    @rule(level=st.sampled_from([PowerLevel.NORMAL, PowerLevel.LOW]))
    def battery(self, level: PowerLevel) -> None:
        self.level = level
        if level is PowerLevel.LOW:
            self.desk.tasks.battery_low()

    def end(self, task: TransientTask) -> None:
        [usage] = self.desk.tasks.remove(task)
        self.spans.setdefault(task.owner.app, []).append((usage.start, usage.end))

    @invariant()
    def three_at_most(self) -> None:
        for app in (APP, App(1001, "other")):
            assert len([t for t in self.desk.tasks if t.owner.app == app]) <= 3

    @invariant()
    def quota_holds(self) -> None:
        now = self.desk.clock.now()
        for app, ended in self.spans.items():
            live = [(t.started, now) for t in self.desk.tasks if t.owner.app == app]
            assert _measure(ended + live) <= 600_000

    @invariant()
    def nothing_is_overdue(self) -> None:
        assert all(t.deadline > self.desk.clock.now() - 1 for t in self.desk.tasks)


def _measure(spans: list[tuple[int, int]]) -> int:
    total, reached = 0, -(10**18)
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def test_whatever_happens_nobody_gets_more_than_the_limits_allow() -> None:
    few = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
    run_state_machine_as_test(Life, settings=few)
