# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from missiond.core.power.level import PowerLevel
from missiond.core.tasks.continuous import (
    ContinuousTask,
    ContinuousTasks,
    Progress,
    check_modes,
    check_time_out,
    set_progress,
)
from missiond.core.tasks.locks import what_for
from missiond.core.tasks.modes import BackgroundMode, Modes
from missiond.core.tasks.owner import App, Owner
from missiond.core.tasks.suspend_reason import SuspendReason
from missiond.errors import (
    ContinuousTaskVerificationFailed,
    InvalidParameter,
    NotificationVerificationFailed,
    NotSystemApp,
)
from standins.worlds.clock import FakeClock

APP = App(1000, "player")
PLAYBACK = (BackgroundMode.AUDIO_PLAYBACK,)


def task(number: int, app: App = APP, context: str = "", modes: Modes = PLAYBACK) -> ContinuousTask:
    return ContinuousTask(
        id=number,
        owner=Owner(42, 7, app),
        requester=app,
        started=0,
        context=context,
        modes=modes,
        what=("sleep",),
    )


def test_one_for_each_application_and_context() -> None:
    tasks = ContinuousTasks(10)
    tasks.add(task(1))
    with pytest.raises(ContinuousTaskVerificationFailed, match="9800005: this application has such a task"):
        tasks.admit(APP, "", PowerLevel.NORMAL)
    tasks.admit(APP, "second", PowerLevel.NORMAL)
    tasks.admit(App(1001, "player"), "", PowerLevel.NORMAL)


def test_a_user_has_a_limit_and_root_has_none() -> None:
    tasks = ContinuousTasks(2)
    for number in (1, 2):
        tasks.add(task(number, context=str(number)))
        tasks.add(task(10 + number, App(0, "root"), str(number)))
    with pytest.raises(ContinuousTaskVerificationFailed, match="which is the most"):
        tasks.admit(APP, "3", PowerLevel.NORMAL)
    tasks.admit(App(0, "root"), "3", PowerLevel.NORMAL)
    found = tasks.get(1)
    assert found is not None
    tasks.remove(found)
    tasks.admit(APP, "3", PowerLevel.NORMAL)


def test_all_uids_of_a_person_have_one_limit_whoever_has_them_later() -> None:
    owner = {100_000: 1000, 100_001: 1000}
    tasks = ContinuousTasks(2, lambda uid: owner.get(uid, uid))
    live = [task(number, App(100_000 + number, "x")) for number in range(2)]
    for each in live:
        tasks.add(each)
    for uid in (1000, 100_000, 100_001):
        with pytest.raises(ContinuousTaskVerificationFailed, match="which is the most"):
            tasks.admit(App(uid, "y"), "", PowerLevel.NORMAL)
    tasks.admit(App(1001, "y"), "", PowerLevel.NORMAL)
    owner.clear()
    for each in live:
        tasks.remove(each)
    tasks.admit(App(1000, "y"), "", PowerLevel.NORMAL)


def test_nothing_starts_on_a_critical_battery() -> None:
    with pytest.raises(ContinuousTaskVerificationFailed, match="critical"):
        ContinuousTasks(10).admit(APP, "", PowerLevel.CRITICAL)


def test_found_by_id_and_by_application() -> None:
    tasks = ContinuousTasks(10)
    one = task(1)
    tasks.add(one)
    assert tasks.find(1) is tasks.started(APP, "") is one
    for number in (2, 2**32 - 1):
        with pytest.raises(ContinuousTaskVerificationFailed):
            tasks.find(number)
    with pytest.raises(InvalidParameter):
        tasks.find(0)
    with pytest.raises(ContinuousTaskVerificationFailed):
        tasks.started(APP, "other")


def test_users_see_their_own_and_root_sees_all() -> None:
    tasks = ContinuousTasks(10)
    one, two = task(1), task(2, App(1001, "player"))
    two.suspensions = (SuspendReason.BATTERY_CRITICAL,)
    tasks.add(one)
    tasks.add(two)
    assert tasks.visible_to(1000, suspended=True) == [one]
    assert tasks.visible_to(1001, suspended=False) == []
    assert tasks.visible_to(0, suspended=True) == [one, two]
    assert tasks.suspended == 1
    assert [(each.suspended, each.suspend_reason) for each in tasks] == [(False, 0), (True, 32)]


def test_wifi_interaction_is_for_root() -> None:
    with pytest.raises(NotSystemApp):
        check_modes((BackgroundMode.WIFI_INTERACTION,), 1000)
    check_modes((BackgroundMode.WIFI_INTERACTION,), 0)


def test_progress_is_for_transfers() -> None:
    transfer = task(1, modes=(BackgroundMode.DATA_TRANSFER,))
    set_progress(transfer, Progress("up", "a.jpg", 100))
    assert transfer.progress.value == 100
    with pytest.raises(InvalidParameter):
        set_progress(transfer, Progress(value=101))
    with pytest.raises(NotificationVerificationFailed):
        set_progress(task(2), Progress(value=1))


def test_the_lock_unites_the_modes() -> None:
    table = {BackgroundMode.VOIP: ("sleep", "idle"), BackgroundMode.DATA_TRANSFER: ("handle-lid-switch",)}
    modes = (BackgroundMode.DATA_TRANSFER, BackgroundMode.VOIP)
    assert what_for(modes, table) == ("sleep", "idle", "handle-lid-switch")
    assert what_for(PLAYBACK, {}) == ("sleep",)


def test_the_lock_names_application_and_kind_of_work() -> None:
    call = task(3, modes=(BackgroundMode.VOIP, BackgroundMode.TASK_KEEPING))
    call.title = "call with\nAda"
    assert call.lock.who == "player (pid 42, uid 1000)"
    assert call.lock.why == "continuous task 3: voip, taskKeeping"  # everybody may list locks


def test_a_time_out_has_a_range() -> None:
    assert [check_time_out(each) for each in (1_000, 604_800_000)] == [1_000, 604_800_000]
    for wrong in (0, 999, 604_800_001, 2**32 - 1):
        with pytest.raises(InvalidParameter, match="from 1000 to 604800000 ms"):
            check_time_out(wrong)


def test_what_is_due_and_when() -> None:
    clock, tasks = FakeClock(0), ContinuousTasks(10)
    ends = {1: 5_000, 2: None, 3: 3_000}
    for number, deadline in ends.items():
        each = task(number, context=str(number))
        each.deadline = deadline
        tasks.add(each)
    assert (tasks.next_due(), tasks.due(clock)) == (3_000, [])
    clock.advance(3_000)
    over = tasks.due(clock)
    assert [each.id for each in over] == [3]
    tasks.remove(over[0])
    found = tasks.get(1)
    assert found is not None
    assert tasks.next_due() == 5_000
    tasks.remove(found)
    assert tasks.next_due() is None
