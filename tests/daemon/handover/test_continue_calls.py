# SPDX-License-Identifier: Apache-2.0
"""ContinueMission and its like over a real bus, with a peer unit that does as the test says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon.peering.test_peers_client import until_enabled
from missiond import bus_names
from missiond.bus.variants import unwrap, variant
from standins.agents.peer_unit import OWN, UNKNOWN, A, B, PeerUnitStandIn, running_peer_unit
from standins.clients.agent_client import AgentClient, Refused
from standins.worlds.scene import Scene

MISSIONS = bus_names.DISTRIBUTED_MISSION_MANAGER
ACTIONS = {f"org.missiond.Agent1.{name}" for name in ("manage-missions", "distributed-datasync")}
SIGNATURES = {
    "ContinueMission": "ssua{sv}",
    "ContinueApplication": "sssa{sv}",
    "ListContinuations": "",
    "ReclaimContinuation": "s",
    "DropContinuation": "s",
    "RegisterMission": "a{sv}",
}


@pytest.fixture
async def unit(scene: Scene) -> AsyncIterator[PeerUnitStandIn]:
    async with running_peer_unit(scene.address) as running:
        scene.polkit.allowed |= ACTIONS
        yield running


async def call(client: AgentClient, member: str, *arguments: Any) -> Any:
    found = await client.call(member, *arguments, interface=MISSIONS, signature=SIGNATURES[member])
    return unwrap(found[0]) if found else None


async def refused(client: AgentClient, member: str, *arguments: Any) -> Refused:
    return await client.refused(member, *arguments, interface=MISSIONS, signature=SIGNATURES[member])


async def registered(client: AgentClient) -> int:
    description = {
        "pid": variant("u", os.getpid()),
        "continuable": variant("b", True),
        "argv": variant("as", ["/bin/true"]),
    }
    return int(await call(client, "RegisterMission", description))


@pytest.mark.parametrize(
    ("source", "target", "code"),
    [
        ("", "", 401),
        ("", OWN, 401),
        ("", A, 401),
        (A, "", 401),
        ("", B, 401),
        (OWN, OWN, 401),
        ("x", OWN, 401),
        (OWN, "A" * 64, 401),
        (OWN, "a" * 63 + "\n", 401),
        (OWN, UNKNOWN, 401),
        (A, B, 16300505),
        (A, A, 16300505),
        (OWN, B, 16300501),
    ],
)
async def test_devices(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient, source: str, target: str, code: int
) -> None:
    await until_enabled(agent)
    mission = await registered(client)
    for member, which in (("ContinueMission", mission), ("ContinueApplication", "python3")):
        found = await refused(client, member, source, target, which, {})
        assert found.code in (code, 16300507), found.text
        if member == "ContinueMission":
            assert found.code == code


async def test_while_peers_are_off(agent: Scene, client: AgentClient) -> None:
    for source, target in ((OWN, A), (A, OWN), (A, B)):
        found = await refused(client, "ContinueMission", source, target, 1, {})
        assert (found.code, "missionctl peers enable" in found.text) == (16300501, True)
        assert (await refused(client, "ContinueMission", "", A, 1, {})).code == 401
    assert await call(client, "ListContinuations") == []


@pytest.mark.parametrize(
    "want",
    [
        {"keep-source": variant("u", 1)},
        {"isFreeInstall": variant("s", "yes")},
        {"with-tasks": variant("s", "no")},
        {"require-tasks": variant("b", True), "with-tasks": variant("b", False)},
        {"x": variant("s", "x" * 100_000)},
        {"x": variant("d", float("nan"))},
    ],
)
async def test_want_param(unit: PeerUnitStandIn, agent: Scene, client: AgentClient, want: Any) -> None:
    await until_enabled(agent)
    mission = await registered(client)
    assert (await refused(client, "ContinueMission", OWN, A, mission, want)).code == 401
    assert await call(client, "ListContinuations") == []


async def test_what_is_not_there(unit: PeerUnitStandIn, agent: Scene, client: AgentClient) -> None:
    await until_enabled(agent)
    assert (await refused(client, "ContinueMission", OWN, A, 0, {})).code == 401
    assert (await refused(client, "ContinueMission", OWN, A, 4711, {})).code == 16300502
    assert (await refused(client, "ContinueApplication", OWN, A, "", {})).code == 401
    assert (await refused(client, "ContinueApplication", OWN, A, "x" * 256, {})).code == 401
    assert (await refused(client, "ContinueApplication", OWN, A, "no.such", {})).code == 16300507
    for member in ("ReclaimContinuation", "DropContinuation"):
        assert (await refused(client, member, "0" * 32)).code == 401
        assert (await refused(client, member, "")).code == 401


async def test_who_may(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient, stranger: AgentClient
) -> None:
    """Root may; another user needs both permissions, and a third for what is somebody else's."""
    await until_enabled(agent)
    mission = await registered(client)
    for missing in ACTIONS:
        agent.polkit.allowed = ACTIONS - {missing}
        assert (await refused(stranger, "ContinueMission", OWN, A, mission, {})).code == 201
    agent.polkit.allowed = set(ACTIONS)
    if os.getuid() == 0:
        assert (await refused(stranger, "ContinueMission", OWN, A, mission, {})).code == 201
        assert (await refused(stranger, "ContinueApplication", OWN, A, "python3", {})).code == 16300507


async def test_offered_listed_and_refused(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is told its number, what is in flight, and once how it ended."""
    caplog.set_level("INFO")
    await until_enabled(agent)
    mission = await registered(client)
    assert agent.daemon is not None
    handing = agent.daemon._handing
    while A not in handing.client.links:
        await asyncio.sleep(0)
    number = await call(client, "ContinueMission", OWN, A, mission, {"why": variant("s", "test")})
    assert number == 1
    second = await refused(client, "ContinueMission", OWN, A, mission, {})
    assert second.code == 16300506
    [row] = await call(client, "ListContinuations")
    assert (row["continuation-id"], row["role"], row["phase"]) == (1, "source", "offered")
    assert (row["device-id"], row["in-doubt"], row["can-reclaim"]) == (A, False, False)
    assert (await refused(client, "ReclaimContinuation", row["transfer"])).code == 401
    assert (await refused(client, "DropContinuation", row["transfer"])).code == 401
    body = '{"code": 16300503, "reason": "not there", "fence": 0}'
    await handing.handovers.received(A, row["transfer"], "refused", body, may_continue=False)
    while await call(client, "ListContinuations"):
        await asyncio.sleep(0)
    await client.settle()
    done = [signal for signal in client.signals if signal.member == "ContinueDone"]
    assert [signal.body for signal in done] == [[1, 16300503]]
    last = [signal.body for signal in client.signals if signal.member == "ContinueProgress"][-1]
    assert (last[1], last[4]) == ("failed", "other: not there")
    assert [line for line in caplog.messages if "does not go on" in line and "not there" in line]
