# SPDX-License-Identifier: Apache-2.0
"""The client beside a peer unit that may be off, fail, restart, and tell of links and states."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from missiond.bus.connection import Connection
from missiond.daemon.handover.client import HandoverClient
from missiond.errors import DistributedServiceFailed, MissionNotFound
from standins.agents.peer_unit import A, B, PeerUnitStandIn
from standins.clients.handover_listener import Listener
from standins.open_files import open_files

T = "1f" * 16


@pytest.fixture
async def unit(system_bus: str) -> AsyncIterator[PeerUnitStandIn]:
    """The peer unit, off."""
    made = PeerUnitStandIn(system_bus)
    yield made
    await made.vanish()


@pytest.fixture
async def client(system_bus: str, heard: Listener) -> AsyncIterator[HandoverClient]:
    """Started."""
    connection = await Connection.open(system_bus, fds=True)
    made = HandoverClient(connection)
    made.know(B, T)
    await made.start(heard.handovers)
    yield made
    made.close()
    await connection.close()


@pytest.fixture
def heard() -> Listener:
    return Listener()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "state", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


async def test_while_peers_are_off(client: HandoverClient, file: int) -> None:
    for call in (
        client.send(A, T, "offer", "{}"),
        client.send_state(A, T, file, 0, 0),
        client.expect_state(A, T, file, 0, 0),
    ):
        with pytest.raises(DistributedServiceFailed, match="missionctl peers enable"):
            await call
    client.forget(T)


async def test_what_is_asked_of_the_unit(
    unit: PeerUnitStandIn, client: HandoverClient, heard: Listener, file: int
) -> None:
    await unit.appear()
    await heard.until("up", A)
    await client.send(A, T, "offer", "{}")
    await client.send_state(A, T, file, 1, 2)
    await client.expect_state(A, T, file, 0, 2)
    client.forget(T)
    await unit.until_called("ForgetHandover")
    assert unit.calls[-5:] == [
        ("FollowHandovers", [[[B, T]]]),
        ("SendHandover", [A, T, "offer", "{}"]),
        ("SendState", [A, T, 0, 1, 2]),
        ("ExpectState", [A, T, 0, 0, 2]),
        ("ForgetHandover", [T]),
    ]


async def test_what_the_unit_tells(unit: PeerUnitStandIn, client: HandoverClient, heard: Listener) -> None:
    await unit.appear()
    await heard.until("up", A)
    await unit.tell("LinkUp", B, False)
    await unit.tell("LinkDown", A)
    await unit.tell("StateProgress", A, T, True, 1, 2)
    await unit.tell("StateFailed", A, T, "full")
    await unit.tell("StateComplete", A, T)
    await heard.until("complete", T)
    assert heard.heard[1:] == [
        ("down", B),
        ("down", A),
        ("progress", T, 1, True),
        ("failed", T, "full"),
        ("complete", T),
    ]
    assert client.links == {B: False}


async def test_a_unit_that_restarts(
    unit: PeerUnitStandIn, client: HandoverClient, heard: Listener, file: int
) -> None:
    await unit.appear()
    await heard.until("up", A)
    await client.expect_state(A, T, file, 0, 9)
    os.write(file, b"1234")
    unit.hanging = {"SendHandover"}
    sending = asyncio.ensure_future(client.send(A, T, "offer", "{}"))
    await unit.until_called("SendHandover")
    await unit.vanish()
    with pytest.raises(DistributedServiceFailed):
        await sending
    await heard.until("down", A)
    unit.calls.clear()
    unit.hanging = set()
    heard.heard.clear()
    await unit.appear()
    await heard.until("up", A)
    assert unit.calls == [
        ("FollowHandovers", [[[A, T], [B, T]]]),
        ("ExpectState", [A, T, 0, 4, 9]),
    ]


async def test_errors_come_through_as_they_are(
    unit: PeerUnitStandIn, client: HandoverClient, heard: Listener
) -> None:
    await unit.appear()
    await heard.until("up", A)
    unit.failures["SendHandover"] = (
        "org.missiond.Agent1.Error.MissionNotFound", "16300502: there is no such mission"
    )  # fmt: skip
    with pytest.raises(MissionNotFound, match="16300502: there is no such mission"):
        await client.send(A, T, "pull", "{}")
    unit.failures["SendHandover"] = ("org.freedesktop.DBus.Error.Failed", "it broke")
    with pytest.raises(DistributedServiceFailed, match="the peer unit failed"):
        await client.send(A, T, "pull", "{}")


async def test_no_descriptor_stays_open(
    unit: PeerUnitStandIn, client: HandoverClient, heard: Listener, file: int
) -> None:
    await unit.appear()
    await heard.until("up", A)
    before = len(open_files())
    for _ in range(5):
        await client.expect_state(A, T, file, 0, 9)
        await client.send_state(A, T, file, 0, 0)
    assert len(open_files()) == before + 1
    client.forget(T)
    assert len(open_files()) == before
