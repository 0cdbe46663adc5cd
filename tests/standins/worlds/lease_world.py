# SPDX-License-Identifier: Apache-2.0
"""The application without a bus: real leases, keeper and files among fakes, to be killed and restarted."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from missiond.core.power.level import Thresholds
from missiond.core.power.reading import PowerReading
from missiond.core.tasks.continuous import ContinuousTasks
from missiond.core.tasks.lease import Lease
from missiond.core.tasks.owner import Owner
from missiond.core.tasks.quota import Quota
from missiond.core.tasks.shares import Shares
from missiond.core.tasks.transient import TransientLimits, TransientTasks
from missiond.daemon.keepalive.restart_store import RestartStore
from missiond.daemon.keepalive.service_restarts import Limit, ServiceRestarts
from missiond.daemon.power_watch import PowerWatch
from missiond.daemon.tasks.continuous import ContinuousTaskService
from missiond.daemon.tasks.inhibitors import InhibitorManager
from missiond.daemon.tasks.leases import Leases
from missiond.daemon.tasks.owners import Gone
from missiond.daemon.tasks.recovery import Recovery
from missiond.daemon.tasks.transient import TransientTaskService
from missiond.degraded import Degraded
from missiond.errors import CallerVerificationFailed
from missiond.host.clocks.boottime import BootClock
from missiond.host.power.battery import Battery
from missiond.host.systemd.logind import Logind
from missiond.host.systemd.service_manager import ServiceManager
from missiond.host.systemd.unit_managers import UnitManagers
from missiond.service.task_signals import TaskAnnouncer
from missiond.store.counters import Counters
from missiond.store.quota_usage import UsageJournal
from missiond.store.record_store import RecordStore
from standins.services.locks import LocksStandIn, StoreStandIn
from standins.services.unit_managers import UnitManagersStandIn
from standins.worlds.clock import FakeClock

BUS_ID = "b"


class HostClock(FakeClock):
    """With what the journal asks for."""

    boot_id = "boot"

    def wall(self) -> int:
        return 1_700_000_000_000 + self.now()


class Supply:
    """A battery."""

    percent = 90.0

    def read(self) -> PowerReading:
        return PowerReading(present=True, percent=self.percent, external=False, discharging=True)


class Processes:
    """Owners that live until they are told to die; outlives runs of the application."""

    def __init__(self) -> None:
        self.dead: set[int] = set()
        self.watches: dict[str, tuple[Lease, Gone]] = {}

    def watch(self, lease: Lease, gone: Gone) -> None:
        if lease.owner.pid in self.dead:
            raise CallerVerificationFailed(f"process {lease.owner.pid} exited")
        self.watches[lease.key] = (lease, gone)

    def unwatch(self, lease: Lease) -> None:
        self.watches.pop(lease.key, None)

    def die(self, owner: Owner) -> None:
        self.dead.add(owner.pid)
        for key, (lease, gone) in list(self.watches.items()):
            if lease.owner.pid == owner.pid and key in self.watches:
                gone(lease)


class Bus:
    """What the announcer says."""

    def __init__(self) -> None:
        self.objects: set[str] = set()
        self.ended: Counter[tuple[str, int]] = Counter()
        self.failures: list[str] = []
        self.suspended: set[int] = set()
        """Ids of continuous tasks that were last said to be so."""
        self.changes: list[tuple[str, ...]] = []

    def add(self, path: str, *_interfaces: object) -> None:
        assert path not in self.objects
        self.objects.add(path)

    def remove(self, path: str) -> None:
        self.objects.discard(path)

    def changed(self, _path: str, _interface: str, *names: str) -> None:
        self.changes.append(names)

    def emit(self, _path: str, _interface: str, member: str, *args: Any) -> None:
        if member == "ContinuousTaskFailed":
            self.failures.append(args[1])
        elif member == "ContinuousTaskSuspend":
            self.suspended.add(args[0])
        elif member == "ContinuousTaskActive":
            self.suspended.discard(args[0])
        elif member != "SuspendDelayExpiring":
            self.ended[member, args[0]] += 1


class Ring:
    """An alarm that a test lets ring."""

    when: int | None = None

    def set(self, when_ms: int | None) -> None:
        self.when = when_ms


class World:
    """One host; `boot` makes the first run of the application, `kill` and `terminate` the next."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._run = 0
        self.clock = HostClock()
        self.supply = Supply()
        self.logind = LocksStandIn()
        self.store = StoreStandIn()
        self.processes = Processes()
        self.bus = Bus()
        self.managers = UnitManagersStandIn(place / "units.socket")
        self.calls: set[asyncio.Task[Any]] = set()
        self.runtime = place / "run0"

    async def boot(self, stored: dict[str, int] | None = None) -> None:
        """Start a run."""
        self.bus.objects.clear()
        self.processes.watches.clear()
        self.files = RecordStore(self.runtime)
        self.counters = Counters(self.runtime / "counters")
        self.journal = UsageJournal(self._place / "usage", list)
        self.journal.load(self.clock, 86_400_000)
        self.degraded = Degraded()
        self.keeper = InhibitorManager(
            cast("Logind", self.logind), cast("ServiceManager", self.store), self.degraded
        )
        self.leases = Leases(
            TransientTasks(self.clock, Quota(self.clock, 10**9, 10**10), TransientLimits(max_requests=4)),
            ContinuousTasks(6),
            self.keeper,
            self.processes,  # type: ignore[arg-type]
            self.files,
            self.counters,
            self.journal,
            self.degraded,
            Shares(12),
            BUS_ID,
        )
        TaskAnnouncer(self.bus, self.leases, lambda: None)  # type: ignore[arg-type]
        self.power_alarm = Ring()
        self.power = PowerWatch(
            Thresholds(),
            cast("Battery", self.supply),
            cast("BootClock", self.clock),
            self.power_alarm,
            lambda: False,
        )
        self.alarm = Ring()
        self.requests = TransientTaskService(self.clock, self.power, self.leases, self.alarm, 1024)
        kept = RestartStore(self.files)
        self.restarts = ServiceRestarts(
            cast("UnitManagers", self.managers),
            kept,
            self.leases,
            self.degraded,
            self.clock,
            Limit(10, 600_000),
            None,
        )
        self.restarts.load()
        self.time_outs = Ring()
        self.running = ContinuousTaskService(
            self.clock, self.power, self.leases, self.time_outs, {}, None, self.restarts
        )
        self.power.on_level(self._level_changed)
        restore = Recovery(self.leases, self.counters, self.clock)
        await restore.load(stored or {}, BUS_ID, self._has_owner)
        restore.finish()
        self.restarts.finish(self.leases.continuous)
        self.requests.ring()
        self.running.ring()
        if self.leases.continuous.waits_for_battery:
            self.power.was_critical()
        self._level_changed()

    async def _has_owner(self, _name: str) -> bool:
        return True

    def _level_changed(self) -> None:
        self.requests.power_changed()
        self.running.power_changed()

    def start(self, call: Callable[[], Any]) -> asyncio.Task[Any]:
        """Begin a call, which may have to wait."""
        task: asyncio.Task[Any] = asyncio.ensure_future(call())
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)
        return task

    async def terminate(self) -> None:
        """As SIGTERM: calls under way are cancelled, and all is closed; then the next run."""
        starting = list(self.leases._enlisting)
        await self._cancel_calls()
        # Their callers were refused, so that nobody knows of these.
        assert not {lease.key for lease in self.leases} & set(starting)
        stored = self.store.hand_over()
        await self._close()
        await self.boot(stored)

    async def kill(self) -> None:
        """As SIGKILL: what is on disk and in the store at this moment is all that is left."""
        self._run += 1
        runtime = self._place / f"run{self._run}"
        shutil.copytree(self.runtime, runtime)
        kept, said = self.store.hand_over(), Counter(self.bus.ended)
        await self._cancel_calls()
        await self._close()
        for name in list(self.store.fds):
            self.store.unstore(name)
        self.store.fds = {name: os.dup(fd) for name, fd in kept.items()}
        self.bus.ended, self.runtime = said, runtime
        await self.boot(kept)

    async def _cancel_calls(self) -> None:
        calls = list(self.calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _close(self) -> None:
        settling = [hold.settling for hold in self.keeper._holds.values() if hold.settling is not None]
        self.restarts.close()
        self.leases.close()
        self.keeper.close()
        await asyncio.gather(*settling, return_exceptions=True)
        self.journal.close()
        self.files.close()

    async def calm(self) -> None:
        """Let logind work again, and everything come to rest."""
        self.logind.errors.clear()
        self.logind.refuse.clear()
        if self.logind.gate is not None:
            self.logind.gate.set()
            self.logind.gate = None
        while busy := self._busy():
            await asyncio.wait(busy)
        self.keeper.settle()
        while busy := self._busy():
            await asyncio.wait(busy)

    def _busy(self) -> set[asyncio.Task[Any]]:
        me = asyncio.current_task()
        return {task for task in asyncio.all_tasks() if task is not me and not task.done()}

    async def end(self) -> None:
        """Close everything."""
        async with asyncio.timeout(10):  # after a test that failed, something may wait for ever
            await self.calm()
        await self._close()
        for name in list(self.store.fds):
            self.store.unstore(name)
        self.logind.forget()
