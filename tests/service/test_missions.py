# SPDX-License-Identifier: Apache-2.0
"""The mission manager on a bus of its own, with missions made by the test."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from missiond.agent.authority import Authority
from missiond.agent.continue_requests import ContinueRequests
from missiond.agent.degraded import Degraded
from missiond.agent.listener_file import ListenerFile
from missiond.agent.missions import Missions as Agent
from missiond.agent.owners import Owners
from missiond.agent.peer_listener_file import PeerListenerFile
from missiond.agent.peers import PeerUnit
from missiond.agent.snapshots import Snapshots
from missiond.agent.termination import Termination
from missiond.bus.connection import Connection
from missiond.bus.server import Server
from missiond.bus.spec import load_specs
from missiond.client import Client
from missiond.client_missions import Missions
from missiond.core.missions import FROZEN, Leader, Sighting
from missiond.errors import (
    AgentError,
    DistributedServiceFailed,
    InvalidParameter,
    MissionNotFound,
    PermissionDenied,
)
from missiond.host import jobs, process_stat
from missiond.host.polkit import PolkitMissing
from missiond.host.privileged import OwnRights
from missiond.host.process_stat import Stat
from missiond.host.processes import ProcessWatch
from missiond.service import names
from missiond.service.continuing import Continuing
from missiond.service.mission_announcer import MissionAnnouncer
from missiond.service.missions import DistributedMissionManager
from missiond.service.remote_missions import RemoteMissions
from missiond.state.counters import Counters
from missiond.state.lease_files import LeaseFiles


class Nobody:
    """A polkit that allows nothing."""

    async def check(self, action: str, sender: str, *, interactive: bool) -> bool:
        raise PolkitMissing


@dataclass
class Service:
    """What a test works with."""

    agent: Agent
    snapshots: Snapshots
    missions: Missions
    client: Client
    requests: ContinueRequests


def members(seen: Sighting) -> tuple[list[Stat], None]:
    return jobs.family(seen.leader.pid, seen.leader.start_ticks), None


def make(directory: Path) -> Agent:
    counters = Counters(directory / "counters")
    return Agent(LeaseFiles(directory), counters, ProcessWatch(), Degraded(), 5)


@pytest.fixture
async def service(system_bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus)
    asking: list[ContinueRequests] = []
    connection = await Connection.open(system_bus, fds=lambda: bool(asking) and asking[0].wants_files)
    server = Server(connection, load_specs(), names.MANAGER_PATH)
    agent = make(tmp_path)
    snapshots = Snapshots(members, 20)
    announcer = MissionAnnouncer(server, agent, snapshots, ListenerFile(LeaseFiles(tmp_path)))
    agent.observer = announcer
    ending = Termination(agent, members, Path("/"), OwnRights(), 20)
    owners = Owners(ProcessWatch(), server.callers)
    authority = Authority(Nobody())
    unit = PeerUnit(connection, Degraded())
    remote = RemoteMissions(server, unit, authority, PeerListenerFile(LeaseFiles(tmp_path)))
    requests = ContinueRequests(announcer.continue_requested, server.callers, tmp_path / "states", 200 * 1024)
    asking.append(requests)
    manager = DistributedMissionManager(
        agent, snapshots, ending, owners, authority, announcer, remote, requests, cast("Continuing", None)
    )
    server.add(names.MANAGER_PATH, manager)
    await server.request_name(names.BUS_NAME)
    async with Client() as client:
        yield Service(agent, snapshots, Missions(client), client, requests)
    await server.drain()
    ending.close()
    snapshots.close()
    agent.close()
    await connection.close()


def sighting(key: str = "job/1/2", uid: int | None = None) -> Sighting:
    ticks = process_stat.read(os.getpid()).start_ticks
    user = os.getuid() if uid is None else uid
    return Sighting(key, Leader(os.getpid(), ticks), user, "pytest", "Pytest", "", 5)


async def test_listed_and_described(service: Service) -> None:
    service.agent.found(sighting())
    [mission] = await service.missions.infos()
    assert (mission.mission_id, mission.label, mission.pid) == (1, "Pytest", os.getpid())
    about = await service.missions.info(1)
    assert about["app-id"] == "pytest"
    assert about["argv"]
    assert about["want"] == {}
    used = await service.missions.snapshot(1)
    assert used["memory"] > 0
    assert used["children"] >= 1, "the bus of this test is a child of this process"
    assert used["state"] == "running"


async def test_objects_say_nothing_private(service: Service) -> None:
    await service.missions.register(label="Hidden", argv=["hidden"], cwd="/hidden", environment=["A=hidden"])
    objects = await service.client.objects()
    [values] = objects[f"{names.MANAGER_PATH}/mission/1"].values()
    assert set(values) == {
        "Id", "AppId", "Pid", "Uid", "RunningState", "Locked", "Continuable", "Tag", "Started",
    }  # fmt: skip
    assert "hidden" not in str(objects).lower()


@pytest.mark.skipif(os.getuid() == 0, reason="root sees everything")
async def test_missions_of_others_are_neither_seen_nor_touched(service: Service) -> None:
    service.agent.found(sighting(uid=os.getuid() + 1))
    assert await service.missions.infos() == []
    ours = service.missions
    for call in (ours.info(1), ours.snapshot(1), ours.lock(1), ours.terminate(1)):
        with pytest.raises(PermissionDenied):
            await call


async def test_registered_locked_and_unregistered(service: Service) -> None:
    number = await service.missions.register(
        label="A\nB", tag=-1, continuable=True, environment=["A=b"], cwd="/"
    )
    [mission] = await service.missions.infos()
    assert (mission.label, mission.tag, mission.continuable) == ("A B", -1, True)
    assert (await service.missions.info(number))["want"] == {"cwd": "/", "environment": ["A=b"]}
    assert await service.missions.register(label="C") == number
    await service.missions.lock(number)
    assert (await service.missions.infos())[0].locked
    await service.missions.lock(number, locked=False)
    await service.missions.unregister(number)
    assert await service.missions.infos() == []
    with pytest.raises(MissionNotFound):
        await service.missions.unregister(number)


async def test_listeners_hear_each_change_and_only_they(service: Service) -> None:
    async with service.missions.changes() as changes:
        service.agent.found(sighting())
        assert await anext(changes) == ("",)
        service.agent.found(replace(sighting(), state=FROZEN))
        await anext(changes)
        service.agent.lost("job/1/2")
        await anext(changes)
    async with service.client.signals("MissionsChanged", names.DISTRIBUTED_MISSION_MANAGER) as heard:
        await service.client.manage(names.DISTRIBUTED_MISSION_MANAGER, "UnregisterMissionListener", "s", [""])
        service.agent.found(sighting())
        await service.missions.infos()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(heard), 0.1)


async def test_snapshots_are_measured_while_somebody_listens(service: Service) -> None:
    service.agent.found(sighting())
    member = "SnapshotChanged"
    async with (
        service.client.signals(member, names.DISTRIBUTED_MISSION_MANAGER) as measured,
        service.missions.changes(),
    ):
        assert await anext(measured) == ("", 1)
    await service.client.manage(names.DISTRIBUTED_MISSION_MANAGER, "UnregisterMissionListener", "s", [""])
    assert service.snapshots._round is None


async def test_terminated(service: Service) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    number = await service.missions.register(pid=process.pid)
    await service.missions.lock(number)
    with pytest.raises(PermissionDenied, match="unlock it"):
        await service.missions.terminate(number)
    await service.missions.lock(number, locked=False)
    await service.missions.terminate(number)
    assert await process.wait() == -signal.SIGTERM
    while await service.missions.infos():
        await asyncio.sleep(0)
    with pytest.raises(MissionNotFound):
        await service.missions.terminate(number)


@pytest.mark.parametrize(
    ("member", "signature", "arguments", "error"),
    [
        ("GetMissionInfos", "su", ["", 0], InvalidParameter),
        ("GetMissionInfos", "su", ["x", 1], InvalidParameter),
        ("GetMissionInfos", "su", ["A" * 64, 1], InvalidParameter),
        ("GetMissionInfos", "su", ["a" * 64, 1], DistributedServiceFailed),
        ("GetMissionInfo", "su", ["", 0], InvalidParameter),
        ("GetMissionInfo", "su", ["", 9], MissionNotFound),
        ("LockMission", "u", [2**32 - 1], MissionNotFound),
        ("TerminateMission", "u", [0], InvalidParameter),
        ("TerminateMission", "u", [2**32 - 1], MissionNotFound),
    ],
)
async def test_bad_input(
    service: Service, member: str, signature: str, arguments: list[Any], error: type[AgentError]
) -> None:
    with pytest.raises(error):
        await service.client.manage(names.DISTRIBUTED_MISSION_MANAGER, member, signature, arguments)


async def test_the_most_there_may_be(service: Service) -> None:
    for number in range(9):
        service.agent.found(sighting(f"unit/{number}"))
    assert len(await service.missions.infos()) == 5
    assert len(await service.missions.infos(2)) == 2


async def test_ids_come_back_after_a_restart(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.found(sighting("unit/1"))
    first.found(sighting("job/1/2"))
    first.lock(first.table.find(2), locked=True)
    first.close()
    second = make(tmp_path)
    second.load()
    second.found(sighting("job/1/2"))
    second.finish()
    assert [(mission.id, mission.locked) for mission in second.table] == [(2, True)]
    second.found(sighting("unit/7"))
    assert {mission.id for mission in second.table} == {2, 3}
    second.close()


async def test_a_process_that_only_has_the_pid_is_another(tmp_path: Path) -> None:
    first = make(tmp_path)
    old = replace(sighting(), leader=Leader(os.getpid(), 1))
    first.observer = None
    first.on_leader_exit = lambda seen: None
    first.found(old)
    first.close()
    second = make(tmp_path)
    second.load()
    second.found(sighting())
    second.finish()
    assert [mission.id for mission in second.table] == [2]
    second.close()


async def test_damaged_records_are_passed_over(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.found(sighting())
    first.close()
    file = tmp_path / "mission" / "1"
    file.write_text(file.read_text().replace('"uid":', '"uid":"x","was":'))
    second = make(tmp_path)
    second.load()
    second.found(sighting())
    assert [mission.id for mission in second.table] == [2]
    second.close()
