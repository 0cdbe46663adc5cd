# SPDX-License-Identifier: Apache-2.0
"""What goes on elsewhere is stopped here, and told to be only once all of it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.missions.test_terminate import STUBBORN, Started, World, registered, start, started
from missiond.daemon.missions.stop import MissionStop
from missiond.errors import DistributedServiceFailed, PermissionDenied
from missiond.host.processes import jobs
from missiond.host.systemd.launcher import Launcher
from missiond.host.systemd.unit_managers import ManagersMissing

__all__ = ["started"]


class Units(Launcher):
    """A stand-in for missiond-units, which ends what it is to stop, or is not there."""

    def __init__(self) -> None:
        self.stopped: list[tuple[int, str]] = []
        self.process: object = None

    async def stop(self, uid: int, service: str) -> None:
        self.stopped.append((uid, service))
        if self.process is None:
            raise ManagersMissing("not there")
        self.process.terminate()  # type: ignore[attr-defined]


class Stopped(World):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.units = Units()
        self.stopping = MissionStop(self.missions.table, self.termination, self.members, self.units)
        self.missions.subscribe(self.stopping)

    def close(self) -> None:
        self.stopping.close()
        super().close()


@pytest.fixture
async def world(tmp_path: Path) -> Iterator[Stopped]:  # type: ignore[misc]
    made = Stopped(tmp_path)
    yield made
    made.close()


async def test_all_of_it_is_gone(world: Stopped, started: Started) -> None:
    world.termination.grace_ms = 200
    process = start(started, "sh", "-c", STUBBORN)
    family = jobs.family(process.pid, registered(world, process.pid).seen.leader.start_ticks)
    [mission] = world.missions.table
    await world.stopping.stop(mission, 10)
    assert len(family) == 2
    assert not jobs.read_live(stat.pid for stat in family)
    assert mission.id not in world.missions.table
    await world.stopping.stop(mission, 10)


async def test_children_that_outlive_the_first(world: Stopped, started: Started) -> None:
    world.termination.grace_ms = 200
    process = start(started, "sh", "-c", "(trap '' TERM; echo; sleep 60 & wait; wait) & wait")
    mission = registered(world, process.pid)
    family = jobs.family(process.pid, mission.seen.leader.start_ticks)
    await world.stopping.stop(mission, 10)
    assert len(family) >= 2
    assert not jobs.read_live(stat.pid for stat in family)


async def test_what_takes_too_long_is_said(world: Stopped, started: Started) -> None:
    world.termination.grace_ms = 60_000
    mission = registered(world, start(started, "sh", "-c", STUBBORN).pid)
    with pytest.raises(DistributedServiceFailed, match="has not ended"):
        await world.stopping.stop(mission, 0.1)
    assert mission.id in world.missions.table


async def test_a_locked_one_stays(world: Stopped, started: Started) -> None:
    process = start(started, "sleep", "60")
    mission = registered(world, process.pid)
    world.missions.lock(mission, locked=True)
    with pytest.raises(PermissionDenied, match="locked"):
        await world.stopping.stop(mission, 5)
    assert process.poll() is None


@pytest.mark.parametrize("there", [True, False])
async def test_a_service_is_stopped_by_its_manager(world: Stopped, started: Started, there: bool) -> None:
    process = start(started, "sleep", "60")
    mission = registered(world, process.pid)
    cgroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service"
    world.missions.table.update(mission, replace(mission.seen, key="unit/5", cgroup=cgroup))
    if there:
        world.units.process = process
    await world.stopping.stop(mission, 5)
    assert world.units.stopped == [(1000, "a.service")]
    assert bool(world.helper.asked) is not there
    assert mission.id not in world.missions.table
