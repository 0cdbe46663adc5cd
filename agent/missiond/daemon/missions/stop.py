# SPDX-License-Identifier: Apache-2.0
"""The stop of a mission about to continue elsewhere, until nothing of the mission is left here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from missiond.core.keepalive.service_restart import RestartedService
from missiond.core.missions.missions import Mission, MissionTable
from missiond.daemon.missions.registry import MissionObserver
from missiond.daemon.missions.terminate import Members, Termination, check_may_end
from missiond.errors import DistributedServiceFailed, MissionNotFound
from missiond.host.processes.processes import ExitWatch, ProcessWatch
from missiond.host.processes.stat import Stat
from missiond.host.systemd.launcher import Launcher
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered, service_of


class MissionStop(MissionObserver):
    """A stop without return: nothing stopped here is started here again.

    A service is stopped by its manager, which would else start it again where it has Restart=. All else gets
    SIGTERM, and SIGKILL after the grace time.
    """

    def __init__(
        self, table: MissionTable, termination: Termination, members: Members, services: Launcher
    ) -> None:
        self._table = table
        self._termination = termination
        self._members = members
        self._services = services
        self._processes = ProcessWatch()
        self._waiting: dict[int, asyncio.Event] = {}

    async def stop(self, mission: Mission, seconds: float) -> None:
        """Stop a mission, and return once each process has exited.

        Raises PermissionDenied and SystemServiceFailed as Termination.end does, DistributedServiceFailed
        where something of it still runs after `seconds`; it may end later then.
        """
        check_may_end(mission)
        event = self._waiting.setdefault(mission.id, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                # who they are is known now; once the first of them is gone, the others may not be found
                stats, _ = await self._members(mission.seen)
                with self._exits(stats) as exits:
                    await self._begin(mission)
                    await _all(exits)
                while await self._wait_for_rest(mission):
                    pass
                if mission.id in self._table:
                    await event.wait()
        except TimeoutError:
            raise DistributedServiceFailed(
                f"mission {mission.id} has not ended in {seconds:g} s; see TerminateGrace= of missiond.conf"
            ) from None
        finally:
            self._waiting.pop(mission.id, None)

    def removed(self, mission: Mission) -> None:
        """Note the end of a mission as seen by the host."""
        event = self._waiting.get(mission.id)
        if event is not None:
            event.set()

    def close(self) -> None:
        """Watch nothing any more."""
        self._processes.close()

    async def _begin(self, mission: Mission) -> None:
        service = _service(mission)
        if service is not None and service.manager is not None:
            try:
                await self._services.stop(service.manager, service.name)
            except (ManagersMissing, NotAnswered):
                pass  # then like everything else
            else:
                return
        if (await self._members(mission.seen))[0]:
            try:
                await self._termination.end(mission)
            except MissionNotFound:
                return

    async def _wait_for_rest(self, mission: Mission) -> bool:
        """Wait for what is seen of it now; whether there was anything."""
        stats, _ = await self._members(mission.seen)
        with self._exits(stats) as exits:
            await _all(exits)
        return bool(exits)

    @contextmanager
    def _exits(self, stats: Iterable[Stat]) -> Iterator[list[asyncio.Event]]:
        """Watch for the exit of each process."""
        watches: list[ExitWatch] = []
        try:
            yield [self._exit_of(stat, watches) for stat in stats]
        finally:
            for watch in watches:
                watch.close()

    def _exit_of(self, stat: Stat, watches: list[ExitWatch]) -> asyncio.Event:
        exited = asyncio.Event()
        try:
            watches.append(self._processes.watch(stat.pid, stat.start_ticks, exited.set))
        except ProcessLookupError:
            exited.set()
        return exited


async def _all(exits: Iterable[asyncio.Event]) -> None:
    for exited in exits:
        await exited.wait()


def _service(mission: Mission) -> RestartedService | None:
    """Return the service that a mission is all of."""
    if not mission.seen.key.startswith("unit/"):
        return None
    return service_of(mission.seen.cgroup.removeprefix("/"))
