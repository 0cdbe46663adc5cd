# SPDX-License-Identifier: Apache-2.0
"""The mission manager on a bus of its own, with missions made by the test."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

import missiond
from missiond import bus_names
from missiond.bus import standard
from missiond.bus.connection import Connection
from missiond.bus.introspection import load_specs
from missiond.bus.server import Server
from missiond.client._missions import OwnMissions
from missiond.common.time_slice import at_once
from missiond.core.missions.missions import FROZEN, Leader, Sighting
from missiond.core.tasks.shares import Shares
from missiond.daemon.authority import Authority
from missiond.daemon.handover.state_requests import StateRequests
from missiond.daemon.missions.listener_store import ListenerStore
from missiond.daemon.missions.registry import MissionRegistry as Agent
from missiond.daemon.missions.snapshots import Snapshots
from missiond.daemon.missions.terminate import Termination
from missiond.daemon.peering.peer_listener_store import PeerListenerFile
from missiond.daemon.peering.peers_client import PeersClient
from missiond.daemon.tasks.owners import Owners
from missiond.degraded import Degraded
from missiond.errors import (
    AgentError,
    DistributedServiceFailed,
    InvalidParameter,
    MissionNotFound,
    PermissionDenied,
)
from missiond.helper.own_rights import OwnRights
from missiond.host.cgroups import usage
from missiond.host.cgroups.usage import ResourceUsage
from missiond.host.polkit import Polkit
from missiond.host.processes import jobs, stat
from missiond.host.processes.processes import ProcessWatch
from missiond.host.processes.stat import Stat
from missiond.service.continuations import Continuations
from missiond.service.mission_signals import MissionAnnouncer
from missiond.service.missions import DistributedMissionManager
from missiond.service.remote_missions import RemoteMissions
from missiond.store.counters import Counters
from missiond.store.record_store import RecordStore
from standins.clients.agent_client import PROPERTIES, agent_client
from standins.clients.bus_signals import call, signals
from standins.clients.other_user import UID, other_user


@dataclass
class Service:
    """What a test works with."""

    agent: Agent
    snapshots: Snapshots
    missions: OwnMissions
    client: missiond.Agent
    requests: StateRequests
    announcer: MissionAnnouncer
    hides: bool = False
    """Whether users see their own processes alone."""


async def members(seen: Sighting) -> tuple[list[Stat], None]:
    return jobs.family(seen.leader.pid, seen.leader.start_ticks), None


async def used(seen: Sighting) -> ResourceUsage | None:
    stats, _ = await members(seen)
    return at_once(usage.measure(stats, seen.leader.pid, None)) if stats else None


def make(directory: Path) -> Agent:
    counters = Counters(directory / "counters")
    return Agent(RecordStore(directory), counters, ProcessWatch(), Degraded(), Shares(5))


@pytest.fixture
async def service(system_bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus)
    asking: list[StateRequests] = []
    connection = await Connection.open(system_bus, fds=lambda: bool(asking) and asking[0].wants_files)
    server = Server(connection, load_specs(), bus_names.MANAGER_PATH)
    agent = make(tmp_path)
    snapshots = Snapshots(used, 20)
    made: list[Service] = []
    announcer = MissionAnnouncer(
        server,
        agent,
        snapshots,
        ListenerStore(RecordStore(tmp_path)),
        lambda: bool(made) and made[0].hides,
    )
    agent.subscribe(announcer)
    ending = Termination(agent, members, Path("/"), OwnRights(), 20)
    owners = Owners(ProcessWatch(), server.callers)
    authority = Authority(Polkit(connection))  # there is none on this bus: it allows nothing
    unit = PeersClient(connection, Degraded())
    remote = RemoteMissions(server, unit, authority, PeerListenerFile(RecordStore(tmp_path)))
    requests = StateRequests(
        announcer.continue_requested, server.callers, tmp_path / "states", lambda: 200 * 1024
    )
    asking.append(requests)
    nothing = cast("Any", None)
    continuing = Continuations(nothing, agent, nothing, unit, authority, requests, nothing)
    manager = DistributedMissionManager(
        agent, snapshots, ending, owners, authority, announcer, remote, continuing
    )
    server.add(bus_names.MANAGER_PATH, manager)
    await server.request_name(bus_names.BUS_NAME)
    async with missiond.connect() as client:
        made.append(Service(agent, snapshots, client.missions, client, requests, announcer))
        yield made[0]
    await server.drain()
    ending.close()
    snapshots.close()
    agent.close()
    await connection.close()


def sighting(key: str = "job/1/2", uid: int | None = None) -> Sighting:
    ticks = stat.read(os.getpid()).start_ticks
    user = os.getuid() if uid is None else uid
    return Sighting(key, Leader(os.getpid(), ticks), user, "pytest", "Pytest", "", 5)


async def test_listed_and_described(service: Service) -> None:
    service.agent.found(sighting())
    [mission] = await service.missions()
    assert (mission.id, mission.label, mission.pid) == (1, "Pytest", os.getpid())
    about = await service.missions.details(1)
    assert about.mission == mission
    assert about.argv
    assert (about.cwd, about.environment) == ("", ())
    used = await service.missions.snapshot(1)
    assert used.memory > 0
    assert used.children >= 1, "the bus of this test is a child of this process"
    assert used.state == "running"


async def test_objects_say_nothing_private(service: Service) -> None:
    await service.missions.register(label="Hidden", argv=["hidden"], cwd="/hidden", environment=["A=hidden"])
    [objects] = await call(service.client, standard.OBJECT_MANAGER, "GetManagedObjects")
    [values] = objects[f"{bus_names.MANAGER_PATH}/mission/1"].values()
    assert set(values) == {
        "Id", "AppId", "Pid", "Uid", "RunningState", "Locked", "Continuable", "Tag", "Started",
    }  # fmt: skip
    assert "hidden" not in str(objects).lower()


async def test_objects_where_processes_are_hidden(service: Service, system_bus: str) -> None:
    service.hides = True
    Path(system_bus.partition("path=")[2].partition(",")[0]).parent.chmod(0o711)
    path = f"{bus_names.MANAGER_PATH}/mission/{{}}".format
    async with agent_client(system_bus, listening=True) as own, other_user(system_bus) as stranger:
        parent = Leader(os.getppid(), stat.read(os.getppid()).start_ticks)
        service.agent.found(sighting("job/1/2", 0))
        service.agent.found(replace(sighting("job/3/4", UID), leader=parent))
        introspect = {"interface": "org.freedesktop.DBus.Introspectable"}
        both = {path(1), path(2)}
        assert set(await own.objects()) == (both if os.getuid() == 0 else {path(2)})
        assert set(await stranger.objects()) == {path(2)}
        [text] = await stranger.call("Introspect", path=f"{bus_names.MANAGER_PATH}/mission", **introspect)
        assert re.findall('node name="(.*)"', text) == ["2"]
        for member, arguments, how in (
            ("GetAll", (bus_names.MISSION,), {"interface": PROPERTIES, "signature": "s"}),
            ("Get", (bus_names.MISSION, "Pid"), {"interface": PROPERTIES, "signature": "ss"}),
            ("Introspect", (), introspect),
        ):
            refused = await stranger.refused(member, *arguments, path=path(1), **how)
            assert refused.name == "org.freedesktop.DBus.Error.UnknownObject"
            await stranger.call(member, *arguments, path=path(2), **how)
        for mission in service.agent.table:
            service.agent.lock(mission, locked=True)
        await own.settle()
        assert own.heard("InterfacesAdded", "PropertiesChanged") == []
        service.hides = False
        service.announcer.visibility_changed()
        await own.settle()
        assert {each[1] for each in own.heard("InterfacesAdded")} == both
        assert set(await stranger.objects()) == both
        service.hides = True
        service.announcer.visibility_changed()
        await own.settle()
        assert {each[1] for each in own.heard("InterfacesRemoved")} == both
        assert set(await stranger.objects()) == {path(2)}


@pytest.mark.skipif(os.getuid() == 0, reason="root sees everything")
async def test_missions_of_others_are_neither_seen_nor_touched(service: Service) -> None:
    service.agent.found(sighting(uid=os.getuid() + 1))
    assert await service.missions() == []
    ours = service.missions
    for refused in (ours.details(1), ours.snapshot(1), ours.lock(1), ours.terminate(1)):
        with pytest.raises(PermissionDenied):
            await refused


async def test_registered_locked_and_unregistered(service: Service) -> None:
    number = await service.missions.register(
        label="A\nB", tag=-1, continuable=True, environment=["A=b"], cwd="/"
    )
    [mission] = await service.missions()
    assert (mission.label, mission.tag, mission.continuable) == ("A B", -1, True)
    about = await service.missions.details(number)
    assert (about.cwd, about.environment) == ("/", ("A=b",))
    assert await service.missions.register(label="C") == number
    await service.missions.lock(number)
    assert (await service.missions())[0].locked
    await service.missions.unlock(number)
    await service.missions.unregister(number)
    assert await service.missions() == []
    with pytest.raises(MissionNotFound):
        await service.missions.unregister(number)


async def test_listeners_hear_each_change_and_only_they(service: Service) -> None:
    async with service.missions.changes() as changes:
        service.agent.found(sighting())
        await anext(changes)
        service.agent.found(replace(sighting(), state=FROZEN))
        await anext(changes)
        service.agent.lost("job/1/2")
        await anext(changes)
    async with signals(service.client, bus_names.DISTRIBUTED_MISSION_MANAGER, "MissionsChanged") as heard:
        await call(service.client, bus_names.DISTRIBUTED_MISSION_MANAGER, "UnregisterMissionListener", "")
        service.agent.found(sighting())
        await service.missions()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(heard.get(), 0.1)


async def test_snapshots_are_measured_while_somebody_listens(service: Service) -> None:
    service.agent.found(sighting())
    member = "SnapshotChanged"
    async with (
        signals(service.client, bus_names.DISTRIBUTED_MISSION_MANAGER, member) as measured,
        service.missions.changes(),
    ):
        assert await measured.get() == ("", 1)
    await call(service.client, bus_names.DISTRIBUTED_MISSION_MANAGER, "UnregisterMissionListener", "")
    assert service.snapshots._round is None


async def test_terminated(service: Service) -> None:
    process = await asyncio.create_subprocess_exec("sleep", "60")
    number = await service.missions.register(pid=process.pid)
    await service.missions.lock(number)
    with pytest.raises(PermissionDenied, match="unlock it"):
        await service.missions.terminate(number)
    await service.missions.unlock(number)
    await service.missions.terminate(number)
    assert await process.wait() == -signal.SIGTERM
    while await service.missions():
        await asyncio.sleep(0)
    with pytest.raises(MissionNotFound):
        await service.missions.terminate(number)


@pytest.mark.parametrize(
    ("member", "arguments", "error"),
    [
        ("GetMissionInfos", ["", 0], InvalidParameter),
        ("GetMissionInfos", ["x", 1], InvalidParameter),
        ("GetMissionInfos", ["A" * 64, 1], InvalidParameter),
        ("GetMissionInfos", ["a" * 64, 1], DistributedServiceFailed),
        ("GetMissionInfo", ["", 0], InvalidParameter),
        ("GetMissionInfo", ["", 9], MissionNotFound),
        ("LockMission", [2**32 - 1], MissionNotFound),
        ("TerminateMission", [0], InvalidParameter),
        ("TerminateMission", [2**32 - 1], MissionNotFound),
    ],
)
async def test_bad_input(
    service: Service, member: str, arguments: list[Any], error: type[AgentError]
) -> None:
    with pytest.raises(error):
        await call(service.client, bus_names.DISTRIBUTED_MISSION_MANAGER, member, *arguments)


async def test_the_most_there_may_be(service: Service) -> None:
    for number in range(9):
        service.agent.found(sighting(f"unit/{number}"))
    assert len(await service.missions()) == 5
    assert len(await service.missions(2)) == 2


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
    counters = Counters(tmp_path / "counters")
    first = Agent(
        RecordStore(tmp_path),
        counters,
        ProcessWatch(),
        Degraded(),
        Shares(5),
        on_leader_exit=lambda _seen: None,
    )
    old = replace(sighting(), leader=Leader(os.getpid(), 1))
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
