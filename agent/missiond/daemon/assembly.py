# SPDX-License-Identifier: Apache-2.0
"""Assembly of the agent below the bus: core, state and host, built in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from missiond.bus.callers import Callers
from missiond.common.background_work import BackgroundWork
from missiond.common.clock import SharedTimer
from missiond.config.settings import Settings
from missiond.core.power.level import Thresholds
from missiond.core.tasks.continuous import ContinuousTasks
from missiond.core.tasks.locks import WhatTable
from missiond.core.tasks.modes import BY_ITEM
from missiond.core.tasks.owner import App
from missiond.core.tasks.quota import Quota, Usage
from missiond.core.tasks.shares import Shares
from missiond.core.tasks.transient import TransientLimits, TransientTasks
from missiond.daemon.keepalive.keep_alive import KeepAlive, Neighbours
from missiond.daemon.keepalive.restart_store import RestartStore
from missiond.daemon.keepalive.service_restarts import Limit, ServiceRestarts
from missiond.daemon.missions.assembly import MissionWatch
from missiond.daemon.power_watch import PowerWatch
from missiond.daemon.tasks.continuous import ContinuousTaskService
from missiond.daemon.tasks.inhibitors import InhibitorManager
from missiond.daemon.tasks.leases import Leases
from missiond.daemon.tasks.owners import Owners
from missiond.daemon.tasks.recovery import Recovery
from missiond.daemon.tasks.transient import TransientTaskService
from missiond.degraded import Degraded
from missiond.host.clocks.boottime import Alarm, BootClock
from missiond.host.clocks.timerfd import ClockSetting
from missiond.host.power.battery import Battery
from missiond.host.processes.processes import ProcessWatch
from missiond.host.systemd.logind import Logind
from missiond.host.systemd.service_manager import ServiceManager
from missiond.host.systemd.unit_managers import UnitManagers
from missiond.host.users.persons import Persons
from missiond.store import quota_usage
from missiond.store.counters import Counters
from missiond.store.quota_usage import UsageJournal
from missiond.store.record_store import RecordStore

_LOGGER = logging.getLogger(__name__)
_LOST = "the use of quotas could not be read: for one QuotaPeriod= each application has half of its quota"


class Assembly:
    """Core, state and host of the agent, built in order of dependence.

    `runtime` outlives the process but not the boot, `state` outlives both. `bus_id` is of the bus that is
    served.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Path,
        state: Path,
        logind: Logind,
        store: ServiceManager,
        supply: Battery,
        connections: Callers,
        bus_id: str,
        neighbours: Neighbours,
    ) -> None:
        self.settings = settings
        self.bus_id = bus_id
        self.degraded = Degraded()
        self._work = BackgroundWork(_LOGGER, "work in the background")
        self._clock = BootClock()
        self._alarm = Alarm(self.ring)
        self.persons = persons = Persons()
        transient = settings.transient
        self._quota = Quota(self._clock, transient.quota_ms, transient.quota_period_ms, persons.of)
        self.files = RecordStore(runtime)
        self.counters = Counters(runtime / "counters")
        self._journal = UsageJournal(state / "usage", self._known_usage, persons.of)
        self.owners = Owners(ProcessWatch(), connections)
        self.keeper = InhibitorManager(logind, store, self.degraded)
        self.leases = Leases(
            TransientTasks(self._clock, self._quota, _transient_limits(settings)),
            ContinuousTasks(settings.continuous.max_tasks_per_user, persons.of),
            self.keeper,
            self.owners,
            self.files,
            self.counters,
            self._journal,
            self.degraded,
            Shares(settings.limits.max_tasks),
            bus_id,
            persons.of,
        )
        self._power_alarm = Alarm(self._look)
        self.power = PowerWatch(
            _thresholds(settings), supply, self._clock, self._power_alarm, self._needs_power
        )
        ending = neighbours.ending or neighbours.helper
        self.mission_watch = MissionWatch(
            settings, self.files, self.counters, self.degraded, ending, persons.of, bus_id
        )
        self.keep_alive = KeepAlive(
            neighbours,
            self.files,
            self.degraded,
            settings.keepalive,
            self._missing_changed,
            self.mission_watch.moved,
        )
        self.leases.subscribe(self.keep_alive)
        self._serve_tasks(settings)
        self._setting = _clock_setting(self.clock_was_set)

    def _serve_tasks(self, settings: Settings) -> None:
        self.restarts = ServiceRestarts(
            UnitManagers(),
            RestartStore(self.files),
            self.leases,
            self.degraded,
            self._clock,
            _restart_limit(settings),
            self.keep_alive,
        )
        self.keep_alive.logins_awaited(self.restarts.users)
        alarms = SharedTimer(self._alarm)
        self.requests = TransientTaskService(
            self._clock, self.power, self.leases, alarms.slot(), settings.limits.reason_length
        )
        self.running = ContinuousTaskService(
            self._clock,
            self.power,
            self.leases,
            alarms.slot(),
            _what_table(settings),
            self.keep_alive,
            self.restarts,
        )

    def load(self) -> Recovery:
        """Read ids and quota; the leases follow with the result's `load` and `finish`."""
        self._quota.restore(
            map(_usage, self._journal.load(self._clock, self.settings.transient.quota_period_ms))
        )
        self._place_earlier_usage()
        self.leases.record_usage([])  # for what it says about the directories
        self.keep_alive.load()
        self.restarts.load()
        return Recovery(self.leases, self.counters, self._clock)

    def clock_was_set(self) -> None:
        """Count the age of earlier boots anew, after somebody set the wall clock."""
        self._journal.mark()
        self._place_earlier_usage()
        for lease in self.leases:
            self.leases.changed(lease, "Started", "Deadline")

    def _place_earlier_usage(self) -> None:
        earlier = map(_usage, self._journal.earlier())
        self._quota.replace_earlier(earlier, self._journal.lost_at)
        self.degraded.set("quotas", None if self._journal.lost_at is None else _LOST)

    def _known_usage(self) -> list[quota_usage.UsedQuota]:
        return [
            quota_usage.UsedQuota(used.app.uid, used.app.app_id, used.start, used.end)
            for used in self._quota.known()
        ]

    async def begin(self, restore: Recovery) -> None:
        """Act on the leases of an earlier run, and return once each lock is held or refused."""
        restore.finish()
        self.keep_alive.finish()
        self.restarts.finish(self.leases.continuous)
        self.ring()
        if self.leases.continuous.waits_for_battery:
            self.power.was_critical()
        self.power.on_level(self.act_on_power)  # and not before: nobody would hear of it
        self.act_on_power()
        # whoever sees the service active sees each lock once, and under the pid that holds it
        await self.keeper.settled()

    def ring(self) -> None:
        """Warn of due ends, and end due tasks."""
        self.requests.ring()
        self.running.ring()

    def act_on_power(self) -> None:
        """Apply the battery's level to live tasks, new or not."""
        self.requests.power_changed()
        self.running.power_changed()
        self.power.schedule()

    def configure(self, settings: Settings) -> None:
        """Put new settings in force; live tasks are as granted."""
        self.settings = settings
        self._quota.configure(settings.transient.quota_ms, settings.transient.quota_period_ms)
        self.leases.transient.configure(_transient_limits(settings))
        self.leases.continuous.configure(settings.continuous.max_tasks_per_user)
        self.leases.shares.configure(settings.limits.max_tasks)
        self.mission_watch.configure(settings)
        self.keep_alive.configure(settings.keepalive)
        self.restarts.configure(_restart_limit(settings))
        self.running.configure(_what_table(settings))
        self.power.configure(_thresholds(settings))
        self.requests.configure(settings.limits.reason_length)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work in the background."""
        self._work.start(work)

    def close(self) -> None:
        """Stop without an end of any lease: the next run goes on with all."""
        self.leases.record_usage(self._quota.running())
        self._work.close()
        self.mission_watch.close()
        self._journal.close()
        self._alarm.close()
        self._power_alarm.close()
        if self._setting is not None:
            self._setting.close()
        self.restarts.close()
        self.keep_alive.close()
        self.leases.close()
        self.keeper.close()
        self.owners.close()
        self.files.close()

    async def closed(self) -> None:
        """Return once all work cancelled by `close` is over."""
        await self.keep_alive.settle()
        await self._work.closed()

    def _missing_changed(self, tasks: Iterable[int]) -> None:
        for number in list(tasks):
            task = self.leases.continuous.get(number)
            if task is not None:
                self.leases.changed(task, "Missing")

    def _look(self) -> None:
        self.power.ring()

    def _needs_power(self) -> bool:
        """Whether something is held, or would be but for the battery."""
        return self.keeper.holds_any or self.leases.continuous.waits_for_battery


def _clock_setting(callback: Callable[[], None]) -> ClockSetting | None:
    try:
        return ClockSetting(callback)
    except OSError as error:
        _LOGGER.warning("it is not heard when the clock is set: %s", error)
        return None


def _usage(read: quota_usage.UsedQuota) -> Usage:
    return Usage(App(read.uid, read.app_id), read.start_ms, read.end_ms)


def _restart_limit(settings: Settings) -> Limit:
    return Limit(settings.keepalive.restart_burst, settings.keepalive.restart_interval_ms)


def _transient_limits(settings: Settings) -> TransientLimits:
    """Of [Transient]."""
    transient = settings.transient
    return TransientLimits(
        max_requests=transient.max_requests,
        max_delay=transient.max_delay_ms,
        low_battery_max_delay=transient.low_battery_max_delay_ms,
        minimum_quota=transient.minimum_quota_ms,
        warning_time=transient.warning_time_ms,
        what=transient.what,
    )


def _thresholds(settings: Settings) -> Thresholds:
    """Of [Battery]."""
    battery = settings.battery
    return Thresholds(
        low=battery.low_percent,
        low_hysteresis=battery.low_hysteresis,
        critical=battery.critical_percent,
        critical_hysteresis=battery.critical_hysteresis,
    )


def _what_table(settings: Settings) -> WhatTable:
    """Of [Continuous]."""
    return {BY_ITEM[item]: what for item, what in settings.continuous.what.items()}
