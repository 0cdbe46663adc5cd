# SPDX-License-Identifier: Apache-2.0
"""What clients may ask about other hosts, also while the peer unit is off, fails, hangs or ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from daemon.other_hosts import CALLS, PEERS_CALLS, PERMITTED_CALLS, call, refused, start
from missiond import bus_names
from missiond.bus.variants import variant
from missiond.daemon.peering import peer_follower
from missiond.daemon.peering import peers_client as peers_module
from standins.agents.peer_unit import OWN, UNKNOWN, A, B, PeerUnitStandIn, peer, running_peer_unit
from standins.clients.agent_client import AgentClient
from standins.worlds.scene import Scene

MANAGE_MISSIONS = "org.missiond.Agent1.manage-missions"
MANAGE_PEERS = "org.missiond.Agent1.manage-peers"
QUIET = {"FollowHandovers", "GetAll", "ListDetails", "ListPeers"}
"""What the agent asks of the unit by itself."""


@pytest.fixture
async def unit(scene: Scene) -> AsyncIterator[PeerUnitStandIn]:
    """A peer unit that is there before the agent is."""
    async with running_peer_unit(scene.address) as running:
        scene.polkit.allowed |= {MANAGE_MISSIONS, MANAGE_PEERS}
        yield running


async def until_enabled(agent: Scene, *, on: bool = True) -> None:
    """Wait until the agent knows what the peer unit knows, or that there is none."""
    assert agent.daemon is not None
    while agent.daemon._unit.on != on:
        await asyncio.sleep(0)


def path(device: str) -> str:
    return f"{bus_names.MANAGER_PATH}/peer/{device}"


async def test_off(agent: Scene, client: AgentClient) -> None:
    assert await client.properties(bus_names.MANAGER_PATH, bus_names.PEERS) == {
        "LocalDeviceId": "",
        "LocalDeviceName": "",
        "Enabled": False,
    }
    for member, more in CALLS.items():
        answer = await refused(client, member, A, *more)
        assert (answer.code, "missionctl peers enable" in answer.text) == (16300501, True), member
    assert (await refused(client, "ListPeers")).code == 16300501
    assert (await client.manager())["Degraded"] == []
    assert agent.polkit.checks == []
    assert any(line.startswith("STATUS=") and "peers: off" in line for line in agent.store.lines)


@pytest.mark.parametrize("device", ["", "x", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "\n", "g" * 64, OWN])
async def test_what_is_no_other_device(
    unit: PeerUnitStandIn, agent: Scene, stranger: AgentClient, device: str
) -> None:
    """Nobody is asked for a password for it; the empty id is this host where that makes sense."""
    await until_enabled(agent)
    local = {"RegisterMissionListener", "UnregisterMissionListener", "GetMissionInfos"}
    local |= {"GetMissionInfo", "GetMissionSnapshot"}
    for member, more in CALLS.items():
        if device or member not in local:
            assert (await refused(stranger, member, device, *more)).code == 401, member
    assert agent.polkit.checks == []
    assert {name for name, _ in unit.calls} <= QUIET


async def test_unknown_devices(unit: PeerUnitStandIn, agent: Scene, stranger: AgentClient) -> None:
    await until_enabled(agent)
    for member, more in CALLS.items():
        if member not in PEERS_CALLS:
            assert (await refused(stranger, member, UNKNOWN, *more)).code == 401, member
    # one that the unit knows and did not tell of yet is asked for again
    unit.peers[UNKNOWN] = peer(UNKNOWN)
    await call(stranger, "RegisterMissionListener", UNKNOWN)


@pytest.mark.parametrize(
    ("member", "more"),
    [
        ("TrustDevice", ({"unknown": variant("s", "")},)),
        ("TrustDevice", ({"name": variant("u", 1)},)),
        ("TrustDevice", ({"address": variant("s", "nowhere")},)),
        ("TrustDevice", ({"address": variant("s", "host:0")},)),
        ("TrustDevice", ({"address": variant("s", "host:65536")},)),
        ("TrustDevice", ({"address": variant("s", "2001:db8::1:8637")},)),
        ("TrustDevice", ({"address": variant("s", "a" * 300 + ":1")},)),
        ("TrustDevice", ({"address": variant("s", "a b:1")},)),
        ("TrustDevice", ({"permissions": variant("as", ["root"])},)),
        ("SetPeerPermissions", (["sync", "Sync"],)),
        ("GetMissionInfos", (0,)),
        ("GetMissionInfo", (0,)),
        ("GetMissionSnapshot", (0,)),
    ],
)
async def test_bad_arguments(
    unit: PeerUnitStandIn, agent: Scene, stranger: AgentClient, member: str, more: tuple[Any, ...]
) -> None:
    await until_enabled(agent)
    assert (await refused(stranger, member, A, *more)).code == 401
    assert agent.polkit.checks == []
    assert {name for name, _ in unit.calls} <= QUIET


async def test_permission(unit: PeerUnitStandIn, agent: Scene, stranger: AgentClient) -> None:
    await until_enabled(agent)
    agent.polkit.allowed.clear()
    for member in PERMITTED_CALLS:
        assert (await refused(stranger, member, A, *CALLS[member])).code == 201, member
        action = MANAGE_PEERS if member in PEERS_CALLS else MANAGE_MISSIONS
        assert agent.polkit.checks[-1].action == action, member
    assert {name for name, _ in unit.calls} <= QUIET
    await call(stranger, "UnregisterMissionListener", A)
    assert len((await call(stranger, "ListPeers"))[0]) == 2


NO_AVAHI = "no Avahi: that costs something"


async def test_what_the_unit_lacks_is_missing_here(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient
) -> None:
    await until_enabled(agent)

    async def until_degraded(*sentences: str) -> None:
        while (await client.manager())["Degraded"] != list(sentences):
            await asyncio.sleep(0)

    await until_degraded()
    await unit.signal("DegradedChanged", [NO_AVAHI])
    await until_degraded(NO_AVAHI)
    await unit.signal("DegradedChanged", ["a\nline", "x" * 5000])
    await until_degraded(f"a line; {'x' * 491}…")
    await unit.signal("DegradedChanged", [])
    await until_degraded()
    unit.missing = [NO_AVAHI]
    await unit.vanish()
    await unit.appear()
    await until_degraded(NO_AVAHI)
    await unit.vanish()
    await until_degraded()
    unit.missing = None
    await unit.appear()
    await until_enabled(agent)
    await until_degraded()


async def test_what_reaches_the_unit(unit: PeerUnitStandIn, agent: Scene, stranger: AgentClient) -> None:
    await until_enabled(agent)
    assert await call(stranger, "RequestPairing", A) == ["123 456"]
    await call(stranger, "ConfirmPairing", A, False)
    wish = {
        "name": variant("s", " new\nname "),
        "address": variant("s", "[2001:db8::1]:8637"),
        "permissions": variant("as", ["continue", "sync", "sync"]),
    }
    await call(stranger, "TrustDevice", UNKNOWN, wish)
    await call(stranger, "SetPeerPermissions", A, [])
    await call(stranger, "StartSyncRemoteMissions", A, True, -3)
    await call(stranger, "StopSyncRemoteMissions", A)
    await call(stranger, "Unpair", A)
    [rows] = await call(stranger, "GetMissionInfos", A, 5)
    assert rows[0][:2] == [7, "Editor"]
    [info] = await call(stranger, "GetMissionInfo", A, 7)
    assert info["want"].value["cwd"].value == "/"
    [snapshot] = await call(stranger, "GetMissionSnapshot", A, 7)
    assert snapshot["cpu"].value == 1.5
    assert [each for each in unit.calls if each[0] not in {*QUIET, "WatchSnapshots"}] == [
        ("RequestPairing", [A]),
        ("ConfirmPairing", [A, False]),
        (
            "TrustDevice",
            [
                UNKNOWN,
                {"name": "new name", "address": "[2001:db8::1]:8637", "permissions": ["sync", "continue"]},
            ],
        ),
        ("SetPeerPermissions", [A, []]),
        ("StartSync", [A, True, -3]),
        ("StopSync", [A]),
        ("Unpair", [A]),
        ("Missions", [A, 5]),
        ("MissionInfo", [A, 7]),
        ("MissionSnapshot", [A, 7]),
    ]


async def test_who_may_continue_is_remembered_here(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient
) -> None:
    await until_enabled(agent)
    assert agent.daemon is not None
    permitted = agent.daemon._handing.permitted
    await call(client, "SetPeerPermissions", A, ["sync", "continue"])
    await call(client, "TrustDevice", B, {"permissions": variant("as", ["continue"])})
    assert (A in permitted, B in permitted) == (True, True)
    await call(client, "TrustDevice", B, {"name": variant("s", "x")})
    assert B in permitted
    await call(client, "SetPeerPermissions", A, ["sync"])
    await call(client, "Unpair", B)
    assert (A in permitted, B in permitted) == (False, False)
    unit.failures["SetPeerPermissions"] = ("org.missiond.Agent1.Error.InvalidParameter", "401: no")
    await refused(client, "SetPeerPermissions", A, ["continue"])
    assert A not in permitted


async def test_objects_follow_the_unit(unit: PeerUnitStandIn, agent: Scene, client: AgentClient) -> None:
    await until_enabled(agent)
    assert (await client.properties(bus_names.MANAGER_PATH, bus_names.PEERS))["LocalDeviceId"] == OWN
    await unit.signal("LocalDeviceNameChanged", "renamed")
    await client.until_property(bus_names.MANAGER_PATH, "LocalDeviceName", lambda name: name == "renamed")
    assert (await client.properties(bus_names.MANAGER_PATH, bus_names.PEERS))["LocalDeviceName"] == "renamed"
    objects = await client.objects()
    assert objects[path(A)] == {
        bus_names.PEER: {
            "DeviceId": A,
            "Name": "other",
            "State": "connected",
            "Addresses": ["192.0.2.1:8637"],
            "Permissions": ["sync"],
            "Reason": "",
            "Synchronised": False,
        }
    }
    offline = await client.properties(path(B), bus_names.PEER)
    assert (offline["Reason"], offline["Synchronised"]) == ("192.0.2.1:8637: Connection refused", True)
    await unit.signal("DetailsChanged", (A, "it refuses\x1b", True))
    await client.until_property(path(A), "Reason", lambda reason: reason == "it refuses ")
    await unit.change(peer(A, "offline", name="a\x1bb"))
    await client.until_property(path(A), "State", lambda state: state == "offline")
    assert (await client.properties(path(A), bus_names.PEER))["Name"] == "a b"
    await unit.change(peer(UNKNOWN, "discovered"))
    await client.until("InterfacesAdded", path(UNKNOWN))
    await unit.signal("PeerGone", A)
    await client.until("InterfacesRemoved", path(A))
    await unit.signal("PairingRequested", B, "x\ny", "123 456")
    await client.until("PairingRequested", B, "x y", "123 456")
    await unit.vanish()
    await until_enabled(agent, on=False)
    assert not any("/peer/" in one for one in await client.objects())


async def test_errors_of_the_unit_come_through(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient
) -> None:
    await until_enabled(agent)
    unit.failures["StartSync"] = ("org.missiond.Agent1.Error.InvalidParameter", "401: not paired")
    answer = await refused(client, "StartSyncRemoteMissions", A, False, 0)
    assert (answer.name, answer.text) == ("org.missiond.Agent1.Error.InvalidParameter", "401: not paired")
    unit.failures["MissionInfo"] = ("org.missiond.Agent1.Error.MissionNotFound", "16300502: gone")
    assert (await refused(client, "GetMissionInfo", A, 7)).text == "16300502: gone"
    for name in (
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.example.Odd",
        "org.freedesktop.DBus.Error.X",
    ):
        unit.failures["Missions"] = (name, "/usr/lib/secret")
        answer = await refused(client, "GetMissionInfos", A, 1)
        assert (answer.code, "secret" in answer.text) == (16300501, False)


async def test_a_unit_that_hangs(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until_enabled(agent)
    unit.hanging.add("Missions")
    for module in (peer_follower, peers_module):
        monkeypatch.setattr(module, "PATIENCE", 0.1)
    answer = await refused(client, "GetMissionInfos", A, 1)
    assert (answer.code, "does not answer" in answer.text) == (16300501, True)
    # nobody else waits for it
    await call(client, "GetMissionInfos", "", 1)


async def test_a_unit_that_ends_under_a_call(
    unit: PeerUnitStandIn, agent: Scene, client: AgentClient
) -> None:
    await until_enabled(agent)
    unit.hanging.add("Missions")
    waiting = await start(client, "GetMissionInfos", A, 1)
    await unit.until_called("Missions")
    await unit.vanish()
    with pytest.raises(Exception, match="16300501: peers are off"):
        await client.answer(waiting)


async def test_calls_that_may_wait_are_bounded(
    unit: PeerUnitStandIn, agent: Scene, stranger: AgentClient, client: AgentClient
) -> None:
    """One user takes no more than a share, and the unit's hanging takes nothing from other methods."""
    await until_enabled(agent)
    unit.hanging.add("Missions")
    waiting = []
    for number in range(1, peers_module.MAX_WAITING_OF_ONE + 1):
        waiting.append(await start(stranger, "GetMissionInfos", A, 1))
        await unit.until_called("Missions", number)  # polkit lets fewer wait at one time
    assert (await refused(stranger, "GetMissionInfos", A, 1)).code == 9800003
    await call(client, "GetMissionInfos", "", 1)
    if os.getuid() == 0:  # elsewhere both are one user
        await call(client, "ListPeers")
    unit.answer_held()
    for serial in waiting:
        await stranger.answer(serial)
    await call(stranger, "GetMissionInfos", A, 1)


async def test_what_is_said_before_the_list_is_there(
    scene: Scene, unit: PeerUnitStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit.hanging.add("ListPeers")
    await scene.start()
    await unit.until_called("ListPeers")
    await unit.change(peer(A, "offline"))
    await unit.signal("PeerGone", B)
    del unit.peers[B]
    unit.answer_held()
    await unit.until_called("ListPeers")
    known = scene.daemon._unit  # type: ignore[union-attr]
    await known.ready()
    while known._follower._early:
        await asyncio.sleep(0)
    assert {device: each.state for device, each in known.peers.items()} == {A: "offline"}


async def test_a_unit_that_does_not_get_ready(
    scene: Scene, unit: PeerUnitStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (peer_follower, peers_module):
        monkeypatch.setattr(module, "PATIENCE", 0.2)
    monkeypatch.setattr(peer_follower, "FIRST_PAUSE", 0.01)
    unit.hanging.add("GetAll")
    await scene.start()
    known = scene.daemon._unit  # type: ignore[union-attr]
    degraded = known._degraded
    while not degraded.sentences:
        await asyncio.sleep(0.01)
    assert "the peer unit does not answer" in degraded.sentences[0]
    unit.hanging.clear()
    while not known.on:
        await asyncio.sleep(0.01)
    assert degraded.sentences == []
