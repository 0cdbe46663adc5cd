# SPDX-License-Identifier: Apache-2.0
"""Hand-overs from client to client: two buses, two peer units as processes, and TLS between them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from missiond.bus.connection import Connection
from missiond.daemon.handover.client import HandoverClient
from missiond.errors import DistributedServiceFailed, MissionNotFound, PermissionDenied
from standins.agents.peer_process import PeerProcess, peer_process, trust
from standins.clients.handover_listener import Listener

pytestmark = pytest.mark.slow

T, U = "1f" * 16, "2e" * 16
SIZE = 50_000_000


class Side:
    """One host."""

    def __init__(self, host: PeerProcess, client: HandoverClient, listener: Listener) -> None:
        self.host = host
        self.client = client
        self.heard = listener
        self.id = ""

    async def permit(self, other: Side, *permissions: str) -> None:
        """Let the other do this here."""
        await self.host.agent.call("SetPeerPermissions", "sas", other.id, list(permissions))


@pytest.fixture
async def sides(tmp_path: Path) -> AsyncIterator[list[Side]]:
    """Two that are connected; the first may begin hand-overs with the second."""
    async with AsyncExitStack() as stack:
        made = []
        for name in ("a", "b"):
            host = await stack.enter_async_context(peer_process(tmp_path / name))
            await host.start()
            connection = await Connection.open(host.bus, fds=True)
            stack.push_async_callback(connection.close)
            client = HandoverClient(connection)
            listener = Listener()
            await client.start(listener.handovers)
            stack.callback(client.close)
            made.append(Side(host, client, listener))
        one, other = made
        one.id = await one.host.agent.device_id()
        # one of them dials: a second link would take the place of the first
        await other.host.agent.call("TrustDevice", "sa{sv}", one.id, {})
        other.id = await trust(one.host, other.host)
        await other.permit(one, "sync", "continue")
        await one.heard.until("up", other.id)
        await other.heard.until("up", one.id)
        yield made


async def test_a_message_is_taken_by_the_agent_there(sides: list[Side]) -> None:
    one, other = sides
    await one.client.send(other.id, T, "offer", '{"mission": 7}')
    taken = [one.id, T, "offer", '{"mission": 7}', ["sync", "continue"]]
    assert other.host.agent.called("HandOver") == [taken]
    longest = '{"a": "' + "x" * (256 * 1024 - 9) + '"}'
    await one.client.send(other.id, T, "offer", longest)
    assert other.host.agent.called("HandOver")[-1][3] == longest
    other.host.agent.failures["HandOver"] = (
        "org.missiond.Agent1.Error.MissionNotFound", "16300502: it is over"
    )  # fmt: skip
    with pytest.raises(MissionNotFound, match="16300502: it is over"):
        await one.client.send(other.id, T, "offer", "{}")
    with pytest.raises(PermissionDenied):
        await other.client.send(one.id, U, "offer", "{}")
    await other.host.agent.vanish()
    with pytest.raises(DistributedServiceFailed, match="the agent of that host does not answer"):
        await one.client.send(other.id, T, "offer", "{}")
    await other.host.agent.appear()


async def test_a_state_goes_on_after_a_unit_was_killed(sides: list[Side], tmp_path: Path) -> None:
    one, other = sides
    source, file = os.memfd_create("state"), os.open(tmp_path / "state", os.O_RDWR | os.O_CREAT)
    os.write(source, os.urandom(SIZE))
    await other.client.expect_state(one.id, T, file, 0, SIZE)
    sending = asyncio.ensure_future(one.client.send_state(other.id, T, source, 0, SIZE))
    await other.heard.until_event("progress")
    await other.host.kill()
    with pytest.raises(DistributedServiceFailed):
        await sending
    kept = os.fstat(file).st_size
    assert 0 < kept < SIZE
    await one.heard.until("down", other.id)
    await other.host.wait_gone()
    one.heard.heard.clear()
    await other.host.start()
    await one.heard.until("up", other.id)
    await one.client.send_state(other.id, T, source, 0, SIZE)
    await other.heard.until("complete", T)
    assert os.pread(file, SIZE, 0) == os.pread(source, SIZE, 0)
    first = next(each for each in one.heard.heard if each[0] == "progress")
    assert first[2] >= kept
    assert one.heard.heard[-1] == ("progress", T, SIZE, True)
    for fd in (source, file):
        os.close(fd)


async def test_an_agent_that_leaves_leaves_nothing(sides: list[Side], tmp_path: Path) -> None:
    one, other = sides
    file = os.open(tmp_path / "state", os.O_RDWR | os.O_CREAT)
    table = Path(f"/proc/{other.host.child.pid}/fd")
    before = len(list(table.iterdir()))
    for number in range(5):
        await other.client.expect_state(one.id, f"{number:032x}", file, 0, SIZE)
    # what came with the calls is closed in a thread, beside the answer: a file's close(2) may take its time
    while len(list(table.iterdir())) != before + 5:
        await asyncio.sleep(0)
    other.client.close()
    await other.client._connection.close()
    while len(list(table.iterdir())) > before:
        await asyncio.sleep(0)
    with pytest.raises(DistributedServiceFailed, match="does not expect"):
        await one.client.send_state(other.id, f"{1:032x}", file, 0, 0)
    os.close(file)
