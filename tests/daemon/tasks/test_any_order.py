# SPDX-License-Identifier: Apache-2.0
"""Whatever happens, in whatever order: table, lock, file, object and signal stay in step."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from missiond.core.power.believed import CONFIRM
from missiond.core.power.level import PowerLevel
from missiond.core.tasks.modes import BackgroundMode
from missiond.core.tasks.owner import App, Owner
from missiond.daemon.tasks.continuous import TaskRequest
from missiond.errors import AgentError
from missiond.host.systemd.logind import LogindMissing, OperationInProgress
from standins.examples import examples
from standins.worlds.lease_world import World

OWNERS = [Owner(pid, 1, App(1000 + pid % 2, f"app{pid % 3}"), None, None) for pid in range(1, 7)]
OWNER = st.sampled_from(OWNERS)
MODES = st.sampled_from([(BackgroundMode.LOCATION,), (BackgroundMode.VOIP,), tuple(BackgroundMode)[:2]])
CONTEXT = st.sampled_from(["", "b"])
TURNS = 4
SIGNALS = {"transient": "SuspendDelayEnded", "continuous": "ContinuousTaskCancel"}


class AnyOrder(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.place = Path(tempfile.mkdtemp(prefix="missiond-world-"))
        self.world: World
        self.granted: list[str] = []
        """Keys of all tasks that a caller was told of."""
        self.stopped: set[str] = set()
        self.failures: list[Exception] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        async def make() -> None:
            self.world = World(self.place)
            await self.world.boot()

        self.run(make())

    def call(self, work: Callable[[], Awaitable[Any]], *, wait: bool) -> None:
        async def step() -> None:
            async def served() -> None:
                try:
                    task = await work()
                except AgentError:
                    return
                except Exception as error:  # noqa: BLE001
                    self.failures.append(error)
                    return
                if task is not None:
                    self.granted.append(task.key)

            started = self.world.start(served)
            if wait and self.world.logind.gate is None:
                await started
            else:
                # As far as it gets: a call, the taking of its lock, the question to logind.
                for _ in range(TURNS):
                    await asyncio.sleep(0)

        self.run(step())

    @rule(owner=OWNER, delay=st.sampled_from([None, 3_000, 20_000]), wait=st.booleans())
    def request(self, owner: Owner, delay: int | None, wait: bool) -> None:
        self.call(lambda: self.world.requests.request(owner, owner.app, "x", delay), wait=wait)

    @rule(owner=OWNER, modes=MODES, context=CONTEXT, wait=st.booleans())
    def start_running(
        self, owner: Owner, modes: tuple[BackgroundMode, ...], context: str, wait: bool
    ) -> None:
        wish = TaskRequest(context=context)
        self.call(lambda: self.world.running.start(modes, owner, owner.app, wish), wait=wait)

    @rule(owner=OWNER, modes=MODES, context=CONTEXT, wait=st.booleans())
    def update_running(
        self, owner: Owner, modes: tuple[BackgroundMode, ...], context: str, wait: bool
    ) -> None:
        async def update() -> None:
            await self.world.running.update(modes, owner.uid, owner.app, context)

        self.call(update, wait=wait)

    @rule(owner=OWNER, context=CONTEXT)
    def stop_running(self, owner: Owner, context: str) -> None:
        async def stop() -> None:
            self.stopped.add(self.world.running.tasks.started(owner.app, context).key)
            self.world.running.stop(owner.app, context)

        self.call(stop, wait=True)

    @rule(number=st.integers(0, 20))
    def cancel(self, number: int) -> None:
        async def end() -> None:
            live = list(self.world.leases)
            if not live:
                return
            task = live[number % len(live)]
            if task.kind == "transient":
                self.world.requests.cancel(task.id, task.owner.uid)
            else:
                self.world.running.cancel(self.world.running.tasks.find(task.id))

        self.call(end, wait=True)

    @rule(owner=OWNER)
    def owner_dies(self, owner: Owner) -> None:
        async def die() -> None:
            self.world.processes.die(owner)
            self.world.processes.dead.discard(owner.pid)

        self.run(die())

    @rule(owner=OWNER, kill=st.booleans())
    def owner_dies_while_nobody_looks(self, owner: Owner, kill: bool) -> None:
        async def die() -> None:
            self.world.processes.dead.add(owner.pid)
            await (self.world.kill() if kill else self.world.terminate())
            self.world.processes.dead.discard(owner.pid)

        self.run(die())

    @rule(kill=st.booleans())
    def restart(self, kill: bool) -> None:
        self.run(self.world.kill() if kill else self.world.terminate())

    @rule(ms=st.sampled_from([1, 5_000, 60_000, 200_000]))
    def time_passes(self, ms: int) -> None:
        async def ring() -> None:
            self.world.clock.advance(ms)
            while self.world.alarm.when is not None and self.world.alarm.when <= self.world.clock.now():
                self.world.alarm.when = None
                self.world.requests.ring()

        self.run(ring())

    @rule(percent=st.sampled_from([90.0, 15.0, 3.0]))
    def power_changes(self, percent: float) -> None:
        async def look() -> None:
            self.world.supply.percent = percent
            self.world.power.look()
            while self.world.power.power.look_again is not None:
                self.world.clock.advance(CONFIRM)
                self.world.power.look()

        self.run(look())

    @rule(trouble=st.sampled_from(["refuse", "missing", "asleep", "hang", "hang", "none"]))
    def logind_changes(self, trouble: str) -> None:
        async def change() -> None:
            logind = self.world.logind
            logind.refuse = {"sleep"} if trouble == "refuse" else set()
            if trouble == "hang":
                logind.gate = logind.gate or asyncio.Event()
            elif logind.gate is not None:
                logind.gate.set()
                logind.gate = None
            if trouble == "missing":
                logind.errors = [LogindMissing("gone")] * 3
            elif trouble == "asleep":
                logind.errors = [OperationInProgress("asleep")] * 3
            elif trouble == "none":
                logind.errors = []
                self.world.keeper.settle()

        self.run(change())

    @rule()
    def everything_rests(self) -> None:
        self.run(self.world.calm())
        self.check()

    def check(self) -> None:
        """What must be true at rest."""
        assert self.failures == []
        world = self.world
        live = {lease.key: lease for lease in world.leases}
        locked = {key: lease for key, lease in live.items() if not getattr(lease, "suspended", False)}
        critical = world.power.level is PowerLevel.CRITICAL
        assert set(locked) == (set() if critical else set(live))
        assert sorted(f"{spec.what_text} {spec.why}" for spec in world.logind.held()) == sorted(
            f"{lease.lock.what_text} {lease.lock.why}" for lease in locked.values()
        )
        assert sorted(name.rpartition("-")[0] for name in world.store.fds) == sorted(locked)
        assert set(world.keeper._holds) == set(locked)
        for kind in SIGNALS:
            place = world.runtime / kind
            files = {entry.name for entry in place.iterdir()} if place.exists() else set()
            assert files == {str(lease.id) for lease in live.values() if lease.kind == kind}
        assert set(world.processes.watches) == set(live)
        assert {path.rpartition("Agent1/")[2].replace("/", "-") for path in world.bus.objects} == set(live)
        assert len(world.leases._activating) == 0
        assert not any(task.activating for task in world.leases.continuous)
        suspended = {int(key.rpartition("-")[2]) for key in set(live) - set(locked)}
        assert suspended <= world.bus.suspended
        assert not {int(key.rpartition("-")[2]) for key in locked if "cont" in key} & world.bus.suspended
        assert all(times == 1 for times in world.bus.ended.values()), world.bus.ended
        for key in self.granted:
            kind, _, number = key.rpartition("-")
            told = world.bus.ended[SIGNALS[kind], int(number)]
            assert told == (key not in live and key not in self.stopped), key
        assert world.leases._enlisting == {}
        assert len(self.granted) == len(set(self.granted))

    def teardown(self) -> None:
        try:
            self.run(self.world.calm())
            self.check()
        finally:
            self.run(self.world.end())
            self.loop.close()
            shutil.rmtree(self.place)


@pytest.mark.timeout(60)
def test_any_order() -> None:
    many = settings(
        max_examples=examples(50),
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(AnyOrder, settings=many)
