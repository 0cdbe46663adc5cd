# SPDX-License-Identifier: Apache-2.0
"""Missions of this host and of peers, and moves between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import missiond
from missiond import bus_names
from missiond.bus.variants import variant
from missiond.client._missions import MissionInfo
from missiond.errors import MissionNotFound
from standins.agents.agent import StandInAgent
from standins.agents.continuations import DONE
from standins.agents.continuations import ROW as CONTINUATION
from standins.agents.peer_unit import OWN, ROW, A, B

MISSIONS = bus_names.DISTRIBUTED_MISSION_MANAGER


def calls(agent: StandInAgent, *but: str) -> list[tuple[Any, ...]]:
    """What was asked of the agent, without some."""
    return [call for call in agent.script.calls if call[0] not in but]


@pytest.fixture
def own(agent: StandInAgent) -> list[tuple[Any, ...]]:
    """Rows of the missions of this host, to be changed."""
    agent.continuations.own = [ROW]
    return agent.continuations.own


def changed(agent: StandInAgent, device: str = "") -> None:
    agent.server.emit(bus_names.MANAGER_PATH, MISSIONS, "MissionsChanged", device)


async def test_a_list(client: missiond.Agent, own: list[tuple[Any, ...]]) -> None:
    [mission] = await client.missions()
    assert (mission.id, mission.label, mission.application, mission.pid) == (
        7,
        "Editor",
        "org.example.Editor",
        4711,
    )
    assert (mission.uid, mission.state, mission.locked, mission.continuable, mission.tag) == (
        1000, "running", False, True, 0,
    )  # fmt: skip
    assert mission.started == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert mission.device == ""
    own.append(ROW)
    assert len(await client.missions(1)) == 1


async def test_what_can_be_done_with_one(
    agent: StandInAgent, client: missiond.Agent, own: list[tuple[Any, ...]]
) -> None:
    [mission] = await client.missions()
    await mission.lock()
    await mission.unlock()
    await mission.terminate()
    asked = calls(agent, "GetMissionInfos")
    assert asked == [("LockMission", 7), ("UnlockMission", 7), ("TerminateMission", 7)]
    agent.script.failures["LockMission"] = MissionNotFound("there is no mission 7")
    with pytest.raises(missiond.NotFound, match="16300502"):
        await mission.lock()


async def test_what_one_uses(agent: StandInAgent, client: missiond.Agent) -> None:
    values = {
        "taken": variant("t", 1_700_000_000_000_001),
        "cpu": variant("d", 1.5),
        "memory": variant("t", 4096),
        "threads": variant("u", 2),
        "children": variant("u", 1),
        "state": variant("s", "running"),
    }
    agent.continuations.snapshot = values
    usage = await client.missions.snapshot(7)
    assert usage == missiond.MissionUsage(
        taken=datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC),
        cpu=1.5, memory=4096, threads=2, children=1, state="running", read_bytes=None, written_bytes=None,
    )  # fmt: skip


async def test_all_about_one(agent: StandInAgent, client: missiond.Agent) -> None:
    keys = (
        "mission-id",
        "label",
        "icon",
        "app-id",
        "pid",
        "uid",
        "running-state",
        "locked",
        "continuable",
        "tag",
    )
    row = {key: variant(kind, value) for key, kind, value in zip(keys, "usssuusbbi", ROW, strict=False)}
    want = {"cwd": variant("s", "/srv"), "environment-dropped": variant("as", ["HOME"])}
    more = {
        "argv": variant("as", ["/bin/x"]),
        "unit": variant("s", "a.scope"),
        "want": variant("a{sv}", want),
    }
    values = {**row, "started": variant("t", ROW[-1]), **more}
    agent.continuations.info = values
    found = await client.missions.details(7)
    assert found.mission.label == "Editor"
    assert (found.argv, found.unit, found.cgroup, found.origin) == (("/bin/x",), "a.scope", "", "")
    assert (found.cwd, found.environment, found.environment_dropped) == ("/srv", (), ("HOME",))


async def test_registered(agent: StandInAgent, client: missiond.Agent) -> None:
    number = await client.missions.register(
        label="me", argv=["/bin/true"], unit_properties=["Nice=5"], tag=-3
    )
    assert agent.script.registered == [
        {"label": "me", "argv": ["/bin/true"], "unit-properties": ["Nice=5"], "tag": -3}
    ]
    await client.missions.unregister(number)
    assert calls(agent) == [("UnregisterMission", 1)]


async def test_watched(agent: StandInAgent, client: missiond.Agent, own: list[tuple[Any, ...]]) -> None:
    async with asyncio.timeout(10), aclosing(_iterator(client.missions.watch())) as lists:
        assert [mission.id for mission in await anext(lists)] == [7]
        own.append((8, *ROW[1:]))
        changed(agent, A)
        changed(agent)
        assert [mission.id for mission in await anext(lists)] == [7, 8]
    await agent.until(calls=4)
    asked = calls(agent, "GetMissionInfos")
    assert asked == [("RegisterMissionListener", ""), ("UnregisterMissionListener", "")]


async def test_one_watch_of_two_ends(
    agent: StandInAgent, client: missiond.Agent, own: list[tuple[Any, ...]]
) -> None:
    async with asyncio.timeout(10), aclosing(_iterator(client.missions.watch())) as lists:
        await anext(lists)
        async with client.missions.changes():
            pass
        await client.missions()
        assert "UnregisterMissionListener" not in [call[0] for call in calls(agent)]


def _iterator(lists: AsyncIterator[Any]) -> Any:
    return lists


async def test_of_a_peer(agent: StandInAgent, client: missiond.Agent) -> None:
    laptop = await client.peer("laptop")
    [mission] = await laptop.missions()
    assert isinstance(mission, MissionInfo)
    assert (mission.label, mission.device) == ("Editor", A)
    assert calls(agent, "ListPeers") == [
        ("StartSyncRemoteMissions", A, True, 0),
        ("GetMissionInfos", A, 2**32 - 1),
        ("StopSyncRemoteMissions", A),
    ]
    with pytest.raises(missiond.Failed, match="not synchronised"):
        await laptop.missions.known()
    with pytest.raises(missiond.Invalid, match="another host"):
        await mission.terminate()


async def test_a_list_that_is_kept_stays_kept(agent: StandInAgent, client: missiond.Agent) -> None:
    laptop = await client.peer("laptop")
    await laptop.missions.keep(tag=3)
    await laptop.missions()
    assert await laptop.missions.known()
    await laptop.missions.forget()
    assert [call for call in calls(agent) if "Sync" in call[0]] == [
        ("StartSyncRemoteMissions", A, True, 3),
        ("StopSyncRemoteMissions", A),
    ]


async def test_a_peer_that_comes_and_goes(agent: StandInAgent, client: missiond.Agent) -> None:
    laptop = await client.peer("laptop")
    async with asyncio.timeout(10), aclosing(_iterator(laptop.missions.watch())) as lists:
        assert len(await anext(lists)) == 1
        agent.peers.change(A, "offline")
        assert await anext(lists) is None
        agent.peers.change(A, "connected")
        assert len(await anext(lists)) == 1


async def test_a_move(agent: StandInAgent, client: missiond.Agent, own: list[tuple[Any, ...]]) -> None:
    laptop = await client.peer("laptop")
    [mission] = await client.missions()
    moving = client.move(mission, to=laptop, keep_source=True, want={"line": 4})
    assert moving.id == 0
    steps = [step async for step in moving]
    assert steps == [missiond.MoveStep(*row) for row in DONE]
    assert moving.id == 9
    assert calls(agent, "ListPeers")[-1] == (
        "ContinueMission", OWN, A, 7, {"keep-source": True, "line": 4},
    )  # fmt: skip


async def test_moves_are_named_in_several_ways(agent: StandInAgent, client: missiond.Agent) -> None:
    [mission] = await (await client.peer("laptop")).missions()
    last = await client.move(mission, install=True)
    assert last == missiond.MoveStep(*DONE[-1])
    await client.move("org.example.X", to=A, with_tasks=False)
    await client.move(3, origin=B, require_tasks=True)
    assert [call for call in calls(agent) if call[0].startswith("Continue")] == [
        ("ContinueMission", A, OWN, 7, {"isFreeInstall": True}),
        ("ContinueApplication", OWN, A, "org.example.X", {"with-tasks": False}),
        ("ContinueMission", B, OWN, 3, {"require-tasks": True}),
    ]


async def test_a_move_that_fails(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.continuations.progress.append(("failed", 0, 0, "no, not that"))
    agent.continuations.result = 16300503
    with pytest.raises(missiond.NotFound, match="no, not that") as found:
        await client.move(7, to=A)
    assert found.value.code == 16300503


async def test_an_agent_that_leaves_during_a_move(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.continuations.result = None
    moving = client.move(7, to=A)
    steps = aiter(moving)
    for _ in DONE:
        await anext(steps)
    await agent.stop()
    with pytest.raises(missiond.Unreachable, match="has left"):
        await anext(steps)


async def test_moves_that_are_not_over(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.continuations.rows = [CONTINUATION]
    [found] = await client.moves()
    assert (found.transfer, found.device_id, found.in_doubt, found.can_reclaim) == ("ab" * 16, A, True, True)
    await found.reclaim()
    await found.drop()
    assert calls(agent, "ListContinuations") == [
        ("ReclaimContinuation", "ab" * 16),
        ("DropContinuation", "ab" * 16),
    ]


def test_times_are_exact() -> None:
    now = datetime(2026, 11, 30, 16, 0, 0, 123456, tzinfo=UTC)
    from missiond.client._types import microseconds_of, milliseconds, moment

    assert moment(microseconds_of(now)) == now
    assert milliseconds(timedelta(days=1, milliseconds=1)) == 86_400_001
    assert milliseconds(0.0015) == 2
