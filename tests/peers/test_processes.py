# SPDX-License-Identifier: Apache-2.0
"""Peer units as processes, each on a bus with an agent: everything between two agents is real."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from missiond.bus.connection import RemoteError
from missiond.bus.variants import variant
from missiond.host.avahi.avahi import NO_AVAHI
from missiond.peers import IDENTITY as FILE
from standins.agents.peer_process import PeerProcess, peer_process, trust
from standins.agents.peer_units import row
from standins.services.avahi import AvahiStandIn
from standins.services.hostnamed import Hostnamed

pytestmark = pytest.mark.slow

ERROR = "org.missiond.Agent1.Error."


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[PeerProcess]]:
    """Two, with a unit that runs."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(peer_process(tmp_path / name)) for name in ("a", "b")]
        for host in both:
            await host.start()
        yield both


async def test_from_agent_to_agent(hosts: list[PeerProcess]) -> None:
    one, other = hosts
    await one.agent.until_called("Subscribe")
    other.agent.change([row(1), row(2)])
    there, here = await trust(one, other), await trust(other, one)
    await one.agent.until_connected(there)
    await other.agent.until_connected(here)
    await one.agent.call("StartSync", "sbi", there, False, 0)
    await one.agent.until_missions(there, [row(1), row(2)])
    other.agent.change([row(3)], [1])
    await one.agent.until_missions(there, [row(2), row(3)])
    info = await one.agent.call("MissionInfo", "su", there, 3)
    assert {key: value.signature for key, value in info.items()} == {
        "mission-id": "u", "argv": "as", "want": "a{sv}"
    }  # fmt: skip
    assert info["want"].value["cwd"].value == "/home"
    assert (await one.agent.call("MissionSnapshot", "su", there, 3))["cpu"].value == 1.5
    with pytest.raises(RemoteError, match="16300502") as failure:
        await one.agent.call("MissionInfo", "su", there, 99)
    assert failure.value.name == f"{ERROR}MissionNotFound"
    await one.agent.call("WatchSnapshots", "sb", there, True)
    await other.agent.until_called("WatchSnapshots")
    other.agent.new_snapshot(3)
    await one.agent.until_heard("SnapshotChanged", there, 3)
    assert await one.agent.call("ListPeers") == [[there, "other", "connected", [other.address], ["sync"]]]


async def test_units_that_are_killed_converge_by_themselves(hosts: list[PeerProcess]) -> None:
    one, other = hosts
    there = await trust(one, other)
    await trust(other, one)
    await one.agent.until_connected(there)
    await one.agent.call("StartSync", "sbi", there, False, 0)
    other.agent.change([row(1)])
    await one.agent.until_missions(there, [row(1)])
    await other.kill()
    await one.agent.until_heard("NetDisconnect", there, 0)
    await other.wait_gone()
    other.agent.subscriber = None
    other.agent.change([row(2)], [1])
    one.agent.heard.clear()
    await other.start()
    await one.agent.until_connected(there)
    await one.agent.until_missions(there, [row(2)])
    await one.kill()
    await one.wait_gone()
    one.agent.heard.clear()
    await one.start()
    await one.agent.until_heard("MissionsChanged", there)
    await one.agent.until_missions(there, [row(2)])


async def test_an_agent_that_restarts_is_followed(hosts: list[PeerProcess]) -> None:
    one, other = hosts
    there = await trust(one, other)
    await trust(other, one)
    await one.agent.until_connected(there)
    await one.agent.call("StartSync", "sbi", there, False, 0)
    other.agent.change([row(1)])
    await one.agent.until_missions(there, [row(1)])
    await other.agent.vanish()
    other.agent.rows = {4: row(4)}
    await other.agent.appear()
    await one.agent.until_missions(there, [row(4)])
    other.agent.change([row(5)])
    await one.agent.until_missions(there, [row(4), row(5)])


async def test_pairing_from_agent_to_agent(hosts: list[PeerProcess]) -> None:
    one, other = hosts
    there, here = await other.agent.device_id(), await one.agent.device_id()
    with pytest.raises(RemoteError, match="401: no such device"):
        await one.agent.call("RequestPairing", "s", there)
    with pytest.raises(RemoteError, match="401: there is no pairing"):
        await other.agent.call("ConfirmPairing", "sb", here, True)
    await trust(one, other)
    # known by its address, and not paired there
    code = await one.agent.call("RequestPairing", "s", there)
    while not (asked := [each for each in other.agent.heard if each[0] == "PairingRequested"]):
        other.agent._news.clear()
        await other.agent._news.wait()
    assert asked[0][1] == here
    assert asked[0][3] == code
    await one.agent.call("ConfirmPairing", "sb", there, True)
    await other.agent.call("ConfirmPairing", "sb", here, True)
    await one.agent.until_connected(there)
    await one.agent.call("Unpair", "s", there)
    await other.agent.until_heard("NetDisconnect", here, 0)
    await one.agent.until_heard("PeerGone", there)


BAD_CALLS: list[tuple[str, str, tuple[object, ...]]] = [
    ("StartSync", "sbi", ("ab" * 32, False, 0)),
    ("StopSync", "s", ("AB" * 32,)),
    ("Unpair", "s", ("",)),
    ("Missions", "su", ("ab" * 32, 0)),
    ("Missions", "su", ("ab" * 32, 1)),
    ("MissionInfo", "su", ("x", 1)),
    ("MissionSnapshot", "su", ("ab" * 32, 0)),
    ("WatchSnapshots", "sb", ("ab" * 32, True)),
    ("SetPeerPermissions", "sas", ("ab" * 32, ["sync"])),
    ("RequestPairing", "s", ("é",)),
    ("TrustDevice", "s", ("ab" * 32,)),
    ("TrustDevice", "sa{sv}", ("ab" * 32, {"port": variant("u", 1)})),
    ("ConfirmPairing", "sb", ("ab" * 32, False)),
]


async def test_bad_calls(hosts: list[PeerProcess]) -> None:
    for member, signature, arguments in BAD_CALLS:
        with pytest.raises(RemoteError, match="401: ") as failure:
            await hosts[0].agent.call(member, signature, *arguments)
        assert failure.value.name == f"{ERROR}InvalidParameter"


async def test_it_ends_when_told_and_starts_once(tmp_path: Path) -> None:
    async with peer_process(tmp_path / "a") as host:
        await host.start()
        first = host.child
        host.port += 1
        host.spawn()
        assert await host.exited() == 1
        assert "another instance" in host.log.read_text()
        host._child = first
        host.child.send_signal(signal.SIGTERM)
        assert await host.exited() == 0
        assert "Traceback" not in host.log.read_text()
        assert "STOPPING=1" in [line for note in host.manager.drain() for line in note.lines]


async def test_without_an_identity_or_a_port_it_says_so(tmp_path: Path) -> None:
    async with peer_process(tmp_path / "a") as host:
        await host.start()
        port = host.port
        async with peer_process(tmp_path / "b") as other:
            other.port = port
            await other.start()
            await other.until_status("degraded", "already in use")
            await other.kill()
            (tmp_path / "b" / FILE).unlink()
            other.spawn()
            assert await other.exited() == 78
            assert "make_identity" in other.log.read_text()
            assert "Traceback" not in other.log.read_text()


async def test_a_host_that_is_renamed(hosts: list[PeerProcess]) -> None:
    """By hostnamectl, and by hostname(1) of which nobody tells: then peers hear it when they connect."""
    one, other = hosts
    avahi, hostnamed = AvahiStandIn(other.bus), Hostnamed(other.bus, "desk")
    await avahi.appear()
    await hostnamed.appear()
    there, here = await other.agent.device_id(), await one.agent.device_id()
    await one.agent.call("TrustDevice", "sa{sv}", there, {"address": variant("s", other.address)})
    await trust(other, one)
    await one.agent.until_connected(there)

    def row_of(name: str) -> list[object]:
        return [there, name, "connected", [other.address], ["sync"]]

    await other.agent.until_heard("LocalDeviceNameChanged", "desk")
    await one.agent.until_heard("PeerChanged", row_of("desk"))
    hostnamed.rename("desk new")
    await other.agent.until_heard("LocalDeviceNameChanged", "desk new")
    assert await other.agent.read("LocalDeviceName") == "desk new"
    await one.agent.until_heard("PeerChanged", row_of("desk new"))
    while "desk new" not in [arguments[3] for arguments in avahi.called("AddService")]:
        await avahi.until_called("AddService", len(avahi.called("AddService")) + 1)
    assert await one.agent.call("ListPeers") == [row_of("desk new")]
    assert (await other.agent.call("ListPeers"))[0][:2] == [here, "other"]
    await avahi.vanish()
    await hostnamed.vanish()


async def test_status_tells_what_is_missing(tmp_path: Path) -> None:
    async with peer_process(tmp_path / "a") as host:
        await host.start()
        await host.until_status("0 paired, 0 connected", "no Avahi")
        await host.agent.until_heard("DegradedChanged", [NO_AVAHI])
        assert await host.agent.read("Degraded") == [NO_AVAHI]
        avahi = AvahiStandIn(host.bus)
        await avahi.appear()
        await host.agent.until_heard("DegradedChanged", [])
        assert await host.agent.read("Degraded") == []
        await avahi.vanish()
        await host.agent.vanish()
        await host.until_status("agent is not there")
