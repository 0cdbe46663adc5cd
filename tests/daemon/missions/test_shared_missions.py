# SPDX-License-Identifier: Apache-2.0
"""What the peer unit is told of this host."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from daemon.other_hosts import call, refused
from missiond import bus_names
from missiond.bus.variants import unwrap, variant
from missiond.core.missions.missions import Leader, Mission, Sighting
from missiond.daemon.missions.snapshots import Snapshots
from standins.clients.agent_client import AgentClient, agent_client
from standins.programs.running import running
from standins.worlds.scene import Scene


def description(**values: Any) -> dict[str, Any]:
    kinds = {"pid": "u", "continuable": "b", "tag": "i", "argv": "as", "environment": "as"}
    return {key: variant(kinds.get(key, "s"), value) for key, value in values.items()}


@pytest.fixture
async def client(scene: Scene) -> Any:
    """Root, or the user of the agent, whose missions are shown."""
    scene.configure(f"[Missions]\nUsers={os.getuid()}\nSnapshotInterval=20ms\n")
    await scene.start()
    async with agent_client(scene.address) as connected:
        yield connected


async def register(client: AgentClient, **values: Any) -> int:
    [number] = await call(client, "RegisterMission", description(**values))
    return int(number)


def ids(rows: list[Any]) -> set[int]:
    return {row[0] for row in rows}


async def changed(client: AgentClient, mission: int) -> tuple[list[Any], list[int]]:
    """Wait for a Changed that has to do with this mission."""
    seen = 0
    while True:
        found = [unwrap(message.body) for message in client.signals[seen:] if message.member == "Changed"]
        for rows, removed in found:
            if mission in ids(rows) or mission in removed:
                client.signals.clear()
                return rows, removed
        seen = len(client.signals)
        client._take(await client.raw.receive())


async def test_rows_and_their_changes(client: AgentClient) -> None:
    with running() as one, running() as two:
        first = await register(client, pid=one, label="First", argv=["secret"])
        [rows] = await call(client, "Subscribe")
        assert first in ids(rows)
        assert "secret" not in str(rows)
        second = await register(client, pid=two, label="Second")
        rows, removed = await changed(client, second)
        assert [row[1] for row in rows if row[0] == second] == ["Second"]
        assert removed == []
        await register(client, pid=two, label="Renamed")
        rows, _ = await changed(client, second)
        assert [row[1] for row in rows if row[0] == second] == ["Renamed"]
        await call(client, "UnregisterMission", second)
        rows, removed = await changed(client, second)
        assert (second in removed, second in ids(rows)) == (True, False)
        await call(client, "UnregisterMission", first)


async def test_what_is_told_about_one(client: AgentClient) -> None:
    with running() as one, running() as two:
        private = await register(client, pid=one, argv=["secret"], cwd="/secret", environment=["A=secret"])
        public = await register(client, pid=two, argv=["/bin/run"], cwd="/tmp", continuable=True)
        [info] = unwrap(await call(client, "Info", private))
        assert "secret" not in str(info)
        assert (info["argv"], info["want"], info["cgroup"], info["session"]) == ([], {}, "", "")
        assert info["mission-id"] == private
        [info] = unwrap(await call(client, "Info", public))
        assert (info["argv"], info["want"], info["cgroup"]) == (["/bin/run"], {"cwd": "/tmp"}, "")
        [snapshot] = unwrap(await call(client, "Snapshot", public))
        assert snapshot["memory"] > 0
        assert (await refused(client, "Info", 2**32 - 1)).code == 16300502
        assert (await refused(client, "Snapshot", 0)).code == 401


async def test_only_those_who_share(scene: Scene, client: AgentClient) -> None:
    with running() as one:
        mission = await register(client, pid=one)
        [rows] = await call(client, "Subscribe")
        assert mission in ids(rows)
        users = f"[Missions]\nUsers={os.getuid()}\n"
        scene.configure(users + "[Peers]\nShareUsers=none\n")
        await client.call("Reload", interface=bus_names.MANAGER)
        _, removed = await changed(client, mission)
        assert mission in removed
        for member in ("Info", "Snapshot"):
            assert (await refused(client, member, mission)).code == 16300502
        scene.configure(users + f"[Peers]\nShareUsers=1 {os.getuid()}\n")
        await client.call("Reload", interface=bus_names.MANAGER)
        rows, _ = await changed(client, mission)
        assert mission in ids(rows)


async def test_snapshots_while_they_are_watched(client: AgentClient) -> None:
    with running() as one:
        mission = await register(client, pid=one)
        await call(client, "WatchSnapshots", True)  # in vain: nobody has subscribed
        await call(client, "Subscribe")
        await call(client, "WatchSnapshots", True)
        await client.until("SnapshotChanged", mission)
        await call(client, "WatchSnapshots", False)


async def test_a_new_subscriber_starts_anew(scene: Scene, client: AgentClient) -> None:
    await call(client, "Subscribe")
    async with agent_client(scene.address) as other:
        await call(other, "Subscribe")
        with running() as one:
            mission = await register(client, pid=one)
            await changed(other, mission)
            await client.settle()
            assert client.heard("Changed") == []
    await client.settle()
    assert scene.app is not None
    while scene.app.mission_watch.sharing._subscriber is not None:
        await client.settle()
    with running() as one:
        await register(client, pid=one)
    assert client.heard("Changed") == []


@pytest.mark.parametrize("member", ["Subscribe", "Info", "Snapshot", "WatchSnapshots"])
async def test_not_for_others(agent: Scene, stranger: AgentClient, member: str) -> None:
    if os.getuid():
        pytest.skip("the agent's own user may, and there is no other here")
    arguments = {"Subscribe": (), "WatchSnapshots": (True,)}.get(member, (1,))
    assert (await refused(stranger, member, *arguments)).code == 201


def test_several_who_want_snapshots() -> None:
    """One that wants no more leaves the other's going."""

    async def over(_seen: Sighting) -> None: ...

    made = Snapshots(over, 0)

    def first(_mission: Mission) -> None: ...

    def second(_mission: Mission) -> None: ...

    made.refresh(list, first)
    made.refresh(list, second)
    made.forgo(first)
    assert list(made._watchers) == [second]
    made.forgo(second)
    assert not made._watchers


@pytest.mark.parametrize("begun", [True, False])
async def test_snapshots_wanted_again_while_a_round_is_cut_short(*, begun: bool) -> None:
    measuring = asyncio.Event()
    mission = Mission(1, Sighting("unit/1", Leader(os.getpid(), 1), os.getuid(), "one", "One", "", 0))

    async def measured(_seen: Sighting) -> None:
        measuring.set()
        await asyncio.sleep(60)

    def changed(_mission: Mission) -> None: ...

    made = Snapshots(measured, 1)
    made.refresh(lambda: [mission], changed)
    if begun:
        await asyncio.wait_for(measuring.wait(), 5)
    elif made._round is not None:
        made._round.cancel()
        made._go_round()
    measuring.clear()
    made.forgo(changed)
    made.refresh(lambda: [mission], changed)
    await asyncio.wait_for(measuring.wait(), 5)
    made.close()


async def test_snapshots_go_on_after_a_failed_round() -> None:
    rounds = asyncio.Semaphore(0)
    mission = Mission(1, Sighting("unit/1", Leader(os.getpid(), 1), os.getuid(), "one", "One", "", 0))

    async def measured(_seen: Sighting) -> None:
        rounds.release()
        raise OSError(5, "Input/output error")

    made = Snapshots(measured, 1)
    made.refresh(lambda: [mission], lambda _mission: None)
    for _ in range(2):
        await asyncio.wait_for(rounds.acquire(), 5)
    made.close()
