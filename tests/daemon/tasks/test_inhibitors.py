# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import cast

import pytest

from missiond.common.backoff import Backoff
from missiond.core.tasks.locks import LockSpec
from missiond.daemon.tasks import inhibitors as keeper_module
from missiond.daemon.tasks.inhibitors import InhibitorManager
from missiond.degraded import Degraded
from missiond.host.systemd.logind import (
    LockRefused,
    LockUndecided,
    Logind,
    LogindMissing,
    OperationInProgress,
)
from missiond.host.systemd.service_manager import ServiceManager
from standins.services.locks import LocksStandIn, StoreStandIn

SPEC = LockSpec(("sleep",), "upload (pid 1, uid 1000)", "transient task 1: photos")
OTHER = LockSpec(("sleep", "idle"), "upload (pid 1, uid 1000)", "continuous task 1: voip")


@pytest.fixture
def logind() -> Iterator[LocksStandIn]:
    fake = LocksStandIn()
    yield fake
    fake.forget()


@pytest.fixture
def store() -> Iterator[StoreStandIn]:
    fake = StoreStandIn()
    yield fake
    for name in list(fake.fds):
        fake.unstore(name)


class Bench:
    def __init__(self, logind: LocksStandIn, store: StoreStandIn) -> None:
        self.degraded = Degraded()
        self.changes: list[str] = []
        self.keeper = InhibitorManager(cast("Logind", logind), cast("ServiceManager", store), self.degraded)
        self.keeper.on_change(self.changes.append)


@pytest.fixture
def bench(logind: LocksStandIn, store: StoreStandIn) -> Bench:
    return Bench(logind, store)


async def settled(keeper: InhibitorManager) -> None:
    """Until nothing is being taken."""
    tasks = [hold.settling for hold in keeper._holds.values() if hold.settling is not None]
    if tasks:
        await asyncio.wait(tasks)
    await asyncio.sleep(0)


async def test_one_lock_taken_stored_and_released(
    bench: Bench, logind: LocksStandIn, store: StoreStandIn
) -> None:
    await bench.keeper.take("transient-1", SPEC)
    assert logind.held() == [SPEC]
    assert bench.keeper.is_held("transient-1")
    assert list(store.fds) == ["transient-1-1"]
    bench.keeper.release("transient-1")
    assert logind.held() == []
    assert store.fds == {}
    bench.keeper.release("transient-1")


async def test_a_change_holds_the_new_lock_before_the_old_one_goes(
    bench: Bench, logind: LocksStandIn, store: StoreStandIn
) -> None:
    await bench.keeper.take("continuous-1", SPEC)
    logind.gate = asyncio.Event()
    change = asyncio.ensure_future(bench.keeper.take("continuous-1", OTHER))
    await asyncio.sleep(0)
    assert logind.held() == [SPEC]
    logind.gate.set()
    await change
    assert logind.held() == [OTHER]
    assert list(store.fds) == ["continuous-1-2"]
    bench.keeper.release("continuous-1")


async def test_released_while_logind_was_still_at_it(
    bench: Bench, logind: LocksStandIn, store: StoreStandIn
) -> None:
    logind.gate = asyncio.Event()
    take = asyncio.ensure_future(bench.keeper.take("transient-1", SPEC))
    await asyncio.sleep(0)
    bench.keeper.release("transient-1")
    logind.gate.set()
    await take
    assert logind.held() == []
    assert store.fds == {}


async def test_logind_that_hangs_keeps_no_caller_waiting(
    bench: Bench, logind: LocksStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "PATIENCE", 0.05)
    logind.gate = asyncio.Event()
    await bench.keeper.take("transient-1", SPEC)
    assert not bench.keeper.is_held("transient-1")
    logind.gate.set()
    await settled(bench.keeper)
    assert logind.held() == [SPEC]
    assert bench.changes == ["transient-1"]
    bench.keeper.release("transient-1")


async def test_refused_during_sleep_and_taken_after(bench: Bench, logind: LocksStandIn) -> None:
    logind.errors = [OperationInProgress("sleeping")]
    await bench.keeper.take("transient-1", SPEC)
    assert not bench.keeper.is_held("transient-1")
    assert not bench.degraded
    bench.keeper.settle()
    await settled(bench.keeper)
    assert logind.held() == [SPEC]
    bench.keeper.release("transient-1")


async def test_no_logind_is_said_and_recovers(bench: Bench, logind: LocksStandIn) -> None:
    logind.errors = [LogindMissing("gone")]
    await bench.keeper.take("transient-1", SPEC)
    assert "nothing keeps the host awake" in bench.degraded.sentences[0]
    bench.keeper.settle()
    await settled(bench.keeper)
    assert logind.held() == [SPEC]
    assert not bench.degraded
    bench.keeper.release("transient-1")


async def test_part_of_a_lock_is_better_than_none(bench: Bench, logind: LocksStandIn) -> None:
    logind.refuse = {"shutdown"}
    lid = LockSpec(("sleep", "idle", "shutdown"), "a", "b")
    await bench.keeper.take("continuous-1", lid)
    assert [spec.what_text for spec in logind.held()] == ["sleep:idle"]
    assert "refused a lock on sleep:idle:shutdown" in bench.degraded.sentences[0]
    bench.keeper.release("continuous-1")


async def test_a_new_run_takes_over_without_a_gap(logind: LocksStandIn, store: StoreStandIn) -> None:
    first = Bench(logind, store)
    await first.keeper.take("transient-1", SPEC)
    await first.keeper.take("transient-2", OTHER)
    stored = store.hand_over()
    for hold in first.keeper._holds.values():
        assert hold.fd is not None
        os.close(hold.fd)
    second = Bench(logind, store)
    second.keeper.adopt(stored, {"transient-1": SPEC, "continuous-9": OTHER})
    assert logind.held() == [SPEC]
    assert second.keeper.is_held("transient-1")
    assert not second.keeper.is_held("transient-2")
    second.keeper.settle()
    await settled(second.keeper)
    assert logind.held() == [SPEC, OTHER]
    assert sorted(store.fds) == ["continuous-9-1", "transient-1-2"]
    second.keeper.release("transient-1")
    second.keeper.release("continuous-9")
    assert logind.held() == []


async def test_of_two_stored_forms_the_later_one_stays(logind: LocksStandIn, store: StoreStandIn) -> None:
    for generation in (9, 10):
        fd = await logind.inhibit("sleep", "w", str(generation))
        store.store(f"transient-1-{generation}", fd)
        os.close(fd)
    store.store("nonsense", store.fds["transient-1-9"])
    bench = Bench(logind, store)
    bench.keeper.adopt(store.hand_over(), {"transient-1": SPEC})
    assert [spec.why for spec in logind.held()] == ["10"]
    assert list(store.fds) == ["transient-1-10"]
    bench.keeper.release("transient-1")


async def test_logind_that_lost_a_lock_gets_it_again(bench: Bench, logind: LocksStandIn) -> None:
    await bench.keeper.take("transient-1", SPEC)
    await bench.keeper.take("transient-2", OTHER)
    await bench.keeper.verify(os.getpid())
    await settled(bench.keeper)
    assert len(logind.locks) == 2
    kept = logind.locks.pop()
    await bench.keeper.verify(os.getpid())
    await settled(bench.keeper)
    logind.locks.append(kept)
    assert sorted(spec.why for spec in logind.held()) == sorted([SPEC.why, OTHER.why])
    assert len(logind.locks) == 3
    for key in ("transient-1", "transient-2"):
        bench.keeper.release(key)
    assert logind.held() == []


async def test_a_lock_that_nobody_wants_any_more_is_not_waited_for(
    bench: Bench, logind: LocksStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come and go while logind hangs, no more than AT_ONCE of them stay."""
    bench.keeper._asking = asyncio.Semaphore(2)
    logind.gate = asyncio.Event()
    before = asyncio.all_tasks()
    takes = [asyncio.ensure_future(bench.keeper.take(f"transient-{n}", SPEC)) for n in range(1, 21)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(1, 21):
        bench.keeper.release(f"transient-{number}")
    await asyncio.gather(*takes)
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert len(left) == 2
    logind.gate.set()
    await asyncio.wait(left)
    assert len(logind.locks) == 2
    assert logind.held() == []


async def test_what_is_wanted_by_now_is_asked_for_after_a_refusal(bench: Bench, logind: LocksStandIn) -> None:
    logind.gate = asyncio.Event()
    logind.errors = [LockRefused("not authorised")]
    first = asyncio.ensure_future(bench.keeper.take("continuous-1", SPEC))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(bench.keeper.take("continuous-1", OTHER))
    await asyncio.sleep(0)
    logind.gate.set()
    await asyncio.gather(first, second)
    assert logind.held() == [OTHER]
    bench.keeper.release("continuous-1")


async def test_a_lock_that_can_not_be_stored_is_held_all_the_same(
    bench: Bench, logind: LocksStandIn, store: StoreStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_name: str, _fd: int) -> None:
        raise OSError(24, "Too many open files")

    await bench.keeper.take("continuous-1", SPEC)
    monkeypatch.setattr(store, "store", full)
    await bench.keeper.take("continuous-1", OTHER)
    assert logind.held() == [OTHER]
    monkeypatch.setattr(store, "unstore", lambda _name: None)
    bench.keeper.release("continuous-1")
    assert logind.held() == []


async def test_it_is_said_why_logind_is_not_there(bench: Bench, logind: LocksStandIn) -> None:
    logind.errors = [LogindMissing("gone"), LogindMissing("gone")]
    await bench.keeper.take("transient-1", SPEC)
    assert bench.degraded.sentences == ["no logind: tasks run, but nothing keeps the host awake"]
    logind.start_failure = "Unit systemd-logind.service is masked"
    bench.keeper.settle()
    await settled(bench.keeper)
    [sentence] = bench.degraded.sentences
    assert sentence.startswith(
        "no logind, since it can't be started (Unit systemd-logind.service is masked):"
    )
    bench.keeper.settle()
    await settled(bench.keeper)
    assert (bench.degraded.sentences, logind.held()) == ([], [SPEC])
    bench.keeper.release("transient-1")


async def test_what_polkit_does_not_decide_on_is_asked_for_again(bench: Bench, logind: LocksStandIn) -> None:
    bench.keeper._again = Backoff(0.01, 0.02)
    logind.errors = [LockUndecided("timed out") for _ in range(3)]
    took = asyncio.Event()
    bench.keeper.on_change(lambda _key: took.set())
    await bench.keeper.take("continuous-1", OTHER)
    assert logind.held() == []
    [sentence] = bench.degraded.sentences
    assert sentence == "polkit does not answer logind, which is asked again (timed out)"
    await asyncio.wait_for(took.wait(), 5)
    assert logind.held() == [OTHER]  # all of it, and not less
    assert bench.degraded.sentences == []
    assert logind.errors == []
    assert not bench.keeper._again.waiting
    assert bench.keeper._again.fresh


async def test_nothing_is_asked_for_that_is_wanted_no_more(bench: Bench, logind: LocksStandIn) -> None:
    bench.keeper._again = Backoff(0.01, 0.02)
    logind.errors = [LockUndecided("timed out")]
    await bench.keeper.take("transient-1", SPEC)
    bench.keeper.release("transient-1")
    while bench.keeper._again.waiting:
        await asyncio.sleep(0.001)
    assert (logind.held(), logind.locks) == ([], [])
    assert bench.degraded.sentences == []


async def test_a_refusal_is_said_until_that_lock_is_held(bench: Bench, logind: LocksStandIn) -> None:
    await bench.keeper.take("continuous-1", OTHER)
    logind.refuse = {"sleep"}
    await bench.keeper.take("transient-1", SPEC)
    said = ["logind refused a lock on sleep (not authorised); see missiond(8)"]
    assert bench.degraded.sentences == said
    bench.keeper.release("continuous-1")
    assert bench.degraded.sentences == said
    logind.refuse = set()
    await bench.keeper.verify(os.getpid())  # logind is back
    await settled(bench.keeper)
    assert (logind.held(), bench.degraded.sentences) == ([SPEC], [])
    bench.keeper.release("transient-1")


async def test_a_refusal_is_not_said_of_a_lock_wanted_no_more(bench: Bench, logind: LocksStandIn) -> None:
    await bench.keeper.take("continuous-1", OTHER)
    logind.errors = [LockRefused("stopping")]
    await bench.keeper.take("transient-1", SPEC)
    assert bench.degraded.sentences
    bench.keeper.release("transient-1")
    assert (logind.held(), bench.degraded.sentences) == ([OTHER], [])
    bench.keeper.release("continuous-1")


async def test_a_refused_change_that_is_taken_back_is_said_no_more(
    bench: Bench, logind: LocksStandIn
) -> None:
    await bench.keeper.take("continuous-1", SPEC)
    logind.refuse = {"sleep"}
    await bench.keeper.take("continuous-1", OTHER)
    assert bench.degraded.sentences
    await bench.keeper.take("continuous-1", SPEC)
    assert (logind.held(), bench.degraded.sentences) == ([SPEC], [])
    bench.keeper.release("continuous-1")


async def test_a_lock_held_does_not_hide_the_refusal_of_another(bench: Bench, logind: LocksStandIn) -> None:
    logind.errors = [LockRefused("too many")]
    await bench.keeper.take("transient-1", SPEC)
    said = bench.degraded.sentences
    assert "too many" in said[0]
    await bench.keeper.take("continuous-1", OTHER)
    assert bench.degraded.sentences == said
    bench.keeper.release("continuous-1")
    bench.keeper.release("transient-1")
    assert bench.degraded.sentences == []


async def test_no_timer_outlives_the_keeper(bench: Bench, logind: LocksStandIn) -> None:
    logind.errors = [LockUndecided("timed out")]
    await bench.keeper.take("transient-1", SPEC)
    assert bench.keeper._again.waiting
    bench.keeper.close()
    assert not bench.keeper._again.waiting
