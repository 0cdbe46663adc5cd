# SPDX-License-Identifier: Apache-2.0
"""Who is told what of missions of peers, and for how long."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from daemon.other_hosts import call
from daemon.peering.test_peers_client import MANAGE_MISSIONS, until_enabled
from standins.agents.peer_unit import A, B, PeerUnitStandIn, peer, running_peer_unit
from standins.clients.agent_client import AgentClient, agent_client
from standins.worlds.scene import Scene

SIGNALS = ("MissionsChanged", "SnapshotChanged", "NetDisconnect")


@pytest.fixture
async def unit(scene: Scene) -> AsyncIterator[PeerUnitStandIn]:
    """A peer unit that is there before the agent is."""
    async with running_peer_unit(scene.address) as running:
        scene.polkit.allowed.add(MANAGE_MISSIONS)
        yield running


@pytest.fixture
async def first(unit: PeerUnitStandIn, agent: Scene) -> AsyncIterator[AgentClient]:
    async with agent_client(agent.address) as connected:
        await until_enabled(agent)
        yield connected


@pytest.fixture
async def second(unit: PeerUnitStandIn, agent: Scene) -> AsyncIterator[AgentClient]:
    async with agent_client(agent.address) as connected:
        yield connected


async def test_each_hears_of_its_own_device(
    unit: PeerUnitStandIn, first: AgentClient, second: AgentClient
) -> None:
    await call(first, "RegisterMissionListener", A)
    await call(first, "RegisterMissionListener", A)
    await call(second, "RegisterMissionListener", B)
    for device in (A, B):
        await unit.signal("MissionsChanged", device)
        await unit.signal("SnapshotChanged", device, 7)
        await unit.signal("NetDisconnect", device, 0)
    for client, device in ((first, A), (second, B)):
        await client.until("NetDisconnect", device, 0)
        await client.settle()
        assert client.heard(*SIGNALS) == [
            ("MissionsChanged", device),
            ("SnapshotChanged", device, 7),
            ("NetDisconnect", device, 0),
        ]


async def test_not_any_more(unit: PeerUnitStandIn, first: AgentClient, second: AgentClient) -> None:
    for client in (first, second):
        await call(client, "RegisterMissionListener", A)
    await call(first, "UnregisterMissionListener", A)
    await call(first, "UnregisterMissionListener", A)
    await unit.signal("MissionsChanged", A)
    await second.until("MissionsChanged", A)
    await first.settle()
    assert first.heard(*SIGNALS) == []


async def test_snapshots_are_asked_for_while_somebody_listens(
    unit: PeerUnitStandIn, agent: Scene, first: AgentClient, second: AgentClient
) -> None:
    async with agent_client(agent.address) as third:
        await call(third, "RegisterMissionListener", A)
        await unit.until_called("WatchSnapshots")
        await call(first, "RegisterMissionListener", A)
        await call(second, "RegisterMissionListener", B)
        await unit.until_called("WatchSnapshots", 2)
        await call(first, "UnregisterMissionListener", A)
    await unit.until_called("WatchSnapshots", 3)
    assert unit.called("WatchSnapshots") == [[A, True], [B, True], [A, False]]
    # of a device that was not paired until now it was in vain
    await unit.change(peer(B, "connected"))
    await unit.until_called("WatchSnapshots", 4)
    assert unit.called("WatchSnapshots")[-1] == [B, True]


async def test_a_unit_that_ends_disconnects_those_that_were_connected(
    unit: PeerUnitStandIn, first: AgentClient, second: AgentClient
) -> None:
    await call(first, "RegisterMissionListener", A)
    await call(second, "RegisterMissionListener", B)
    await unit.vanish()
    await first.until("NetDisconnect", A, 0)
    await second.settle()
    assert second.heard(*SIGNALS) == []
    # it comes back: nobody has to register again, and both are asked for
    unit.calls.clear()
    await unit.appear()
    await unit.until_called("WatchSnapshots", 2)
    await unit.signal("MissionsChanged", A)
    await first.until("MissionsChanged", A)


async def test_a_device_that_is_back(unit: PeerUnitStandIn, first: AgentClient, second: AgentClient) -> None:
    """Its list may be what it was; whoever heard that it was away is told to look all the same."""
    await call(first, "RegisterMissionListener", A)
    await call(second, "RegisterMissionListener", B)
    await unit.signal("NetDisconnect", A, 0)
    await unit.change(peer(A, "offline"))
    await unit.change(peer(A, "connected"))
    await first.until("MissionsChanged", A)
    await second.settle()
    assert first.heard(*SIGNALS) == [("NetDisconnect", A, 0), ("MissionsChanged", A)]
    assert second.heard(*SIGNALS) == []


async def test_one_end_is_told_once(unit: PeerUnitStandIn, agent: Scene, first: AgentClient) -> None:
    await call(first, "RegisterMissionListener", A)
    await unit.signal("NetDisconnect", A, 0)
    await unit.vanish()
    await until_enabled(agent, on=False)
    await first.settle()
    assert first.heard("NetDisconnect") == [("NetDisconnect", A, 0)]


async def test_listening_may_end_while_peers_are_off(
    unit: PeerUnitStandIn, agent: Scene, first: AgentClient
) -> None:
    await call(first, "RegisterMissionListener", A)
    await unit.vanish()
    await until_enabled(agent, on=False)
    await call(first, "UnregisterMissionListener", A)


async def test_a_restart_of_the_agent_costs_nobody_a_call(
    unit: PeerUnitStandIn, agent: Scene, first: AgentClient
) -> None:
    await call(first, "RegisterMissionListener", A)
    async with agent_client(agent.address) as gone:
        await call(gone, "RegisterMissionListener", B)
        await agent.stop()
    first.signals.clear()
    unit.calls.clear()
    await agent.start()
    await first.until("MissionsChanged", A)
    await unit.until_called("WatchSnapshots")
    await unit.signal("SnapshotChanged", A, 7)
    await first.until("SnapshotChanged", A, 7)
    assert unit.called("WatchSnapshots") == [[A, True]]


@pytest.mark.slow
async def test_a_thousand_listeners(unit: PeerUnitStandIn, agent: Scene, first: AgentClient) -> None:
    """Some on each of many connections; the bus lets one user have 256."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(agent_client(agent.address)) for _ in range(100)]
        devices = [f"{number:064x}" for number in range(1, 11)]
        for device in devices:
            await unit.change(peer(device))
        for client in clients:
            for device in devices:
                await call(client, "RegisterMissionListener", device)
        for device in devices:
            await unit.signal("MissionsChanged", device)
        for client in clients:
            for device in devices:
                await client.until("MissionsChanged", device)
        assert len(list((agent.runtime / "peer-listener").iterdir())) == 1
    await unit.until_called("WatchSnapshots", 20)
    assert unit.called("WatchSnapshots")[10:] == [[device, False] for device in devices]
    assert agent.files("peer-listener") == []
    assert os.getpid()
