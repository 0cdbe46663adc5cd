# SPDX-License-Identifier: Apache-2.0
"""Recovery after a restart: leases, locks, ids and quota of an earlier run."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from missiond.common.clock import Clock
from missiond.core.tasks.continuous import ContinuousTask
from missiond.core.tasks.lease import Cause, Lease
from missiond.core.tasks.transient import TransientTask
from missiond.daemon.tasks.leases import Leases
from missiond.host.clocks.boottime import boot
from missiond.store.counters import Counters

_LOGGER = logging.getLogger(__name__)


class Recovery:
    """Recovery of leases in two steps, with nothing awaited between the first and the name on the bus."""

    def __init__(self, leases: Leases, counters: Counters, clock: Clock) -> None:
        self._leases = leases
        self._counters = counters
        self._clock = clock
        self._gone: list[Lease] = []

    async def load(
        self, stored: Mapping[str, int], bus_id: str, has_owner: Callable[[str], Awaitable[bool]]
    ) -> None:
        """Make recorded leases live again, with the locks of the fd store (`stored`: fds by name)."""
        found = [
            (lease, bus)
            for kind in (TransientTask.kind, ContinuousTask.kind)
            for lease, bus in self._read(kind)
        ]
        found = self._without_twins(found)
        names = {lease.owner.connection for lease, bus in found if bus == bus_id}
        connected = {name for name in names if name is not None and await has_owner(name)}
        for lease, bus in found:
            self._leases.put(lease)
            connection = lease.owner.connection
            cut_off = connection is not None and (bus != bus_id or connection not in connected)
            if cut_off or not self._leases.resume(lease):
                self._gone.append(lease)
        wanted = {lease.key: lease.lock for lease, _ in found if not lease.suspended}
        self._leases.keeper.adopt(stored, wanted)
        if found:
            _LOGGER.info("took up %d tasks, %d of them without an owner", len(found), len(self._gone))

    def finish(self) -> None:
        """End leases without an owner; take all locks again under this process' name."""
        for lease in self._gone:
            if self._leases.is_live(lease):
                self._leases.release(lease, Cause.OWNER_EXITED)
        self._gone.clear()
        self._leases.keeper.settle()
        self._leases.go_on()

    def _read(self, kind: str) -> list[tuple[Lease, str]]:
        found: list[tuple[Lease, str]] = []
        records = self._leases.records[kind]
        for lease_id, saved in records.load(partial(self._counters.at_least, kind)).items():
            if saved.lease.started > self._clock.now():
                records.reject(lease_id, ValueError("of a time to come"))
                continue
            found.append((saved.lease, str(saved.bus)))
            boot.remember(saved.boot)
        return found

    def _without_twins(self, found: list[tuple[Lease, str]]) -> list[tuple[Lease, str]]:
        """Of continuous tasks with one key the latest: the file of the other could not be deleted."""
        latest: dict[object, Lease] = {}
        for lease, _ in found:
            key: object = (lease.owner.app, lease.context) if isinstance(lease, ContinuousTask) else lease.key
            other = latest.get(key)
            if other is None or other.started <= lease.started:
                latest[key] = lease
        kept = {lease.key for lease in latest.values()}
        for lease, _ in found:
            if lease.key not in kept:
                _LOGGER.warning("%s had ended already", lease.key)
                self._leases.forget(lease.kind, lease.id)
        return [(lease, bus) for lease, bus in found if lease.key in kept]
