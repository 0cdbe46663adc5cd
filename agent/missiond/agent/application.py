# SPDX-License-Identifier: Apache-2.0
"""Everything that the agent is made of, put together; what happens on the host comes in here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from missiond.agent import policy
from missiond.agent.continuous import BackgroundRunning
from missiond.agent.degraded import Degraded
from missiond.agent.keep_alive import KeepAlive, Neighbours
from missiond.agent.keeper import FdStore, LockKeeper, LockSource
from missiond.agent.leases import Leases
from missiond.agent.mission_watch import MissionWatch
from missiond.agent.owners import Owners, Vanishing
from missiond.agent.power_watch import PowerSupply, PowerWatch
from missiond.agent.restart_files import RestartFiles
from missiond.agent.restarts import Limit, Restarts
from missiond.agent.restore import Restore
from missiond.agent.transient import TransientRequests
from missiond.config.settings import Settings
from missiond.core.continuous import ContinuousTasks
from missiond.core.owner import App
from missiond.core.quota import Quota, Usage
from missiond.core.transient import TransientTasks
from missiond.host.boottime import Alarm, BootClock
from missiond.host.processes import ProcessWatch
from missiond.host.unit_managers import UnitManagers
from missiond.state import usage_journal
from missiond.state.counters import Counters
from missiond.state.lease_files import LeaseFiles
from missiond.state.usage_journal import UsageJournal


class Application:
    """Core, state and host in one; the bus is attached with `leases.observer`.

    `runtime` outlives the process but not the boot, `state` outlives both.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Path,
        state: Path,
        logind: LockSource,
        store: FdStore,
        supply: PowerSupply,
        connections: Vanishing,
        neighbours: Neighbours,
    ) -> None:
        self.settings = settings
        self.degraded = Degraded()
        self._work: set[asyncio.Task[None]] = set()
        self._clock = BootClock()
        self._alarm = Alarm(self._ring)
        self.power = PowerWatch(policy.thresholds(settings), supply, self._clock)
        self.power.on_level = self.act_on_power
        self._quota = Quota(self._clock, settings.transient.quota_ms, settings.transient.quota_period_ms)
        self.files = LeaseFiles(runtime)
        self.counters = Counters(runtime / "counters")
        self._journal = UsageJournal(state / "usage", self._known_usage)
        self.owners = Owners(ProcessWatch(), connections)
        self.keeper = LockKeeper(logind, store, self.degraded, self._lock_changed)
        self.leases = Leases(
            TransientTasks(self._clock, self._quota, policy.transient_limits(settings)),
            ContinuousTasks(settings.continuous.max_tasks_per_user),
            self.keeper,
            self.owners,
            self.files,
            self.counters,
            self._journal,
            self.degraded,
            settings.limits.max_tasks,
        )
        self.mission_watch = MissionWatch(
            settings, self.files, self.counters, self.degraded, neighbours.ending or neighbours.helper
        )
        self.keep_alive = KeepAlive(neighbours, self.files, self.degraded, settings.keepalive)
        self.keep_alive.groups.moved = self.mission_watch.moved
        self.leases.guard = self.keep_alive
        self.restarts = Restarts(
            UnitManagers(),
            RestartFiles(self.files),
            self.leases,
            self.degraded,
            self._clock,
            _restart_limit(settings),
        )
        self.leases.reviver = self.restarts
        limit = settings.limits.reason_length
        self.requests = TransientRequests(self._clock, self.power, self.leases, self._alarm, limit)
        what = policy.what_table(settings)
        self.running = BackgroundRunning(self._clock, self.power, self.leases, what, self.restarts)

    def load(self) -> Restore:
        """Read ids and quota; the leases follow with the result's `load` and `finish`."""
        used = self._journal.load(self._clock, self._quota.period)
        self._quota.restore(Usage(App(u.uid, u.app_id), u.start_ms, u.end_ms) for u in used)
        self.leases.record_usage([])  # for what it says about the directories
        self.keep_alive.load()
        self.restarts.load()
        return Restore(self.leases, self.files, self.counters, self._clock)

    def _known_usage(self) -> list[usage_journal.Usage]:
        return [
            usage_journal.Usage(used.app.uid, used.app.app_id, used.start, used.end)
            for used in self._quota.known()
        ]

    async def begin(self, restore: Restore) -> None:
        """Act on all that was loaded; returns once each lock is held that can be had."""
        restore.finish()
        self.keep_alive.finish()
        self.restarts.finish(self.leases.continuous)
        self.requests.ring()
        self.act_on_power()
        # whoever sees the service active sees each lock once, and under the pid that holds it
        await self.keeper.settled()

    def on_bus(self, bus_id: str) -> None:
        """Say which bus is served: names of clients on another one mean nothing."""
        watch = self.mission_watch
        self.leases.bus_id = watch.listeners.bus_id = watch.peer_listeners.bus_id = bus_id
        watch.missions.bus_id = bus_id

    def act_on_power(self) -> None:
        """Apply the level to what is live, whether or not it is new."""
        self.requests.power_changed()
        self.running.power_changed()

    def configure(self, settings: Settings) -> None:
        """Put new settings in force; live tasks keep what they were granted."""
        self.settings = settings
        self.leases.transient.limits = policy.transient_limits(settings)
        self.leases.continuous.max_per_user = settings.continuous.max_tasks_per_user
        self.leases.max_tasks = settings.limits.max_tasks
        self._quota.amount = settings.transient.quota_ms
        self._quota.period = settings.transient.quota_period_ms
        self.mission_watch.configure(settings)
        self.requests.reason_length = settings.limits.reason_length
        self.keep_alive.configure(settings.keepalive)
        self.restarts.limit = _restart_limit(settings)
        self.running.what = policy.what_table(settings)
        self.power.configure(policy.thresholds(settings))
        self.requests.schedule()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def close(self) -> None:
        """Stop without ending a lease: the next run goes on with all of them."""
        self.leases.record_usage(self._quota.running())
        self.mission_watch.close()
        self._journal.close()
        self._alarm.close()
        self.restarts.close()
        self.keep_alive.close()
        self.keeper.close()
        self.owners.close()
        self.files.close()
        self.counters.close()

    def _ring(self) -> None:
        self.requests.ring()

    def _lock_changed(self, key: str) -> None:
        lease = self.leases.find(key)
        if lease is not None and self.leases.observer is not None:
            self.leases.observer.changed(lease, "Locked")


def _restart_limit(settings: Settings) -> Limit:
    return Limit(settings.keepalive.restart_burst, settings.keepalive.restart_interval_ms)
