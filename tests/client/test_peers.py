# SPDX-License-Identifier: Apache-2.0
"""Other hosts."""

from __future__ import annotations

import asyncio

import pytest

import missiond
from missiond import bus_names
from missiond.client._peers import Peers, find_peer
from standins.agents.agent import StandInAgent
from standins.agents.peer_unit import OWN, A, B


async def test_a_list(agent: StandInAgent, client: missiond.Agent) -> None:
    laptop, desk = await client.peers()
    assert (laptop.id, laptop.name, laptop.state, laptop.addresses, laptop.permissions) == (
        A, "laptop", "connected", ("192.0.2.1:8637",), ("sync",),
    )  # fmt: skip
    assert (laptop.paired, laptop.label, laptop.short_id) == (True, "laptop", "a" * 16)
    assert (desk.paired, desk.label) == (False, "desk�?")
    agent.peers.reasons[A] = "it is off"
    assert await laptop.details() == missiond.PeerDetails("it is off", synchronised=False)
    assert await client.this_device() == missiond.ThisDevice(OWN, "here", enabled=True)
    agent.peers.on = False
    with pytest.raises(missiond.Failed, match="off"):
        await client.peers()
    assert not (await client.this_device()).enabled


async def test_one_that_is_gone_has_no_details(client: missiond.Agent) -> None:
    assert await client.peers.details("c" * 64) == missiond.PeerDetails()


@pytest.mark.parametrize("word", ["laptop", A, "aaaa", "laptop?"])
async def test_found(client: missiond.Agent, word: str) -> None:
    assert (await client.peer(word)).id == A


@pytest.mark.parametrize("word", ["", "aaa", "nobody\x1b", "c" * 64])
async def test_not_found(client: missiond.Agent, word: str) -> None:
    with pytest.raises(missiond.NotFound, match="is known") as found:
        await client.peer(word)
    assert "\x1b" not in str(found.value)
    assert found.value.code is None


async def test_a_name_of_several(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.peers.rows[B] = agent.peers.rows[B]._replace(name="laptop")
    assert (await client.peer("laptop")).id == A  # the paired one
    agent.peers.rows[B] = agent.peers.rows[B]._replace(state="offline")
    with pytest.raises(missiond.Invalid, match="2 devices"):
        find_peer(await client.peers(), "laptop")


def test_whole_ids() -> None:
    assert Peers.is_id(A)
    assert not Peers.is_id("aaaa")
    assert not Peers.is_id("A" * 64)


async def test_paired(agent: StandInAgent, client: missiond.Agent) -> None:
    desk = await client.peer(B)
    async with asyncio.timeout(10), client.peers.changes(B) as changes:
        await client.peers.prepare_pairing()
        assert await desk.pair() == "123 456"
        await desk.confirm()
        await anext(changes)
    assert (await client.peer(B)).paired
    await desk.permit(["sync", "continue"])
    await desk.unpair()
    assert [call for call in agent.script.calls if call[0] != "ListPeers"] == [
        ("PreparePairing",),
        ("RequestPairing", B),
        ("ConfirmPairing", B, True),
        ("SetPeerPermissions", B, ["sync", "continue"]),
        ("Unpair", B),
    ]


async def test_trusted(agent: StandInAgent, client: missiond.Agent) -> None:
    await client.peers.trust("c" * 64)
    await client.peers.trust("c" * 64, name="x", address="h:1", permissions=["sync"])
    assert agent.script.calls == [
        ("TrustDevice", "c" * 64, {}),
        ("TrustDevice", "c" * 64, {"name": "x", "address": "h:1", "permissions": ["sync"]}),
    ]


async def test_somebody_wants_to_pair(agent: StandInAgent, client: missiond.Agent) -> None:
    async with asyncio.timeout(10), client.peers.requests() as requests:
        agent.server.emit(bus_names.MANAGER_PATH, bus_names.PEERS, "PairingRequested", B, "desk", "123 456")
        assert await anext(requests) == missiond.PairingRequest(B, "desk", "123 456")


async def test_peers_that_are_turned_on(agent: StandInAgent, client: missiond.Agent) -> None:
    agent.peers.on = False
    async with asyncio.timeout(10), client.peers.changes() as changes:
        agent.peers.turn_on()
        await anext(changes)
        assert (await client.this_device()).enabled
