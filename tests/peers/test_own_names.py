# SPDX-License-Identifier: Apache-2.0
"""What peers are called: their own word, the newest, unless people here call them otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from missiond.errors import SystemServiceFailed
from missiond.peers import own_names
from missiond.peers.trust import TrustedPeer
from standins.agents.peer_units import Place, places, trust


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_names, "_GAP", 50)


async def rested(place: Place) -> None:
    """Wait until the gap after the last name is over."""
    while place.unit.own_names._waiting:
        await asyncio.sleep(0.01)


async def meet(one: Place, other: Place) -> None:
    """Let two trust each other and connect, the first one dialling."""
    trust(other, one, address=False)
    trust(one, other)
    await one.until_connected(other)
    await other.until_connected(one)


def name_of(place: Place, device_id: str) -> str:
    """What a place lists a device as."""
    return next(row[1] for row in place.commands.list_peers() if row[0] == device_id)


async def test_a_host_that_is_renamed_has_its_new_name_everywhere(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        there = other.id
        assert name_of(one, there) == other.name
        other.unit.rename("gamma")
        await one.heard.until(lambda: name_of(one, there) == "gamma")
        assert (one.device(other).shown, other.commands.local_name) == ("gamma", "gamma")
        assert one.unit.trust.get(there) == TrustedPeer(
            there, "", other.unit.identity.certificate, (other.address,), own_name="gamma"
        )
        # also over there, where nothing runs, and here after a restart
        await other.stop()
        await one.stop()
        one.start()
        assert name_of(one, there) == "gamma"


async def test_a_host_that_was_renamed_while_it_was_away(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        there = other.id
        await other.stop()
        await one.heard.until(lambda: not one.device(there).present)
        other.name = "gamma"
        other.start()
        await one.until_connected(other)
        await one.heard.until(lambda: name_of(one, there) == "gamma")


async def test_people_have_the_last_word(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        there = other.id
        one.commands.trust_device(there, {"name": "desk"})
        other.unit.rename("gamma")
        while one.device(there).name != "gamma":
            await asyncio.sleep(0.01)
        assert name_of(one, there) == "desk"
        one.commands.set_peer_permissions(there, ["sync", "continue"])
        kept = one.unit.trust.get(there)
        assert kept is not None
        assert (kept.name, kept.own_name, kept.permissions) == ("desk", "gamma", ("sync", "continue"))
        # until they take it back
        one.commands.trust_device(there, {"name": ""})
        assert name_of(one, there) == "gamma"


async def test_a_pairing_again_leaves_the_name_that_people_gave(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        certificate = other.unit.identity.certificate
        one.commands.trust_device(other.id, {"name": "desk"})
        assert not one.unit.pairing_confirmed(other.id, "beta", certificate)
        assert one.unit.trust.get(other.id) == TrustedPeer(other.id, "desk", certificate, own_name="beta")
        assert name_of(one, other.id) == "desk"


async def test_a_name_that_cannot_be_kept_counts_until_the_next_start(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)

        def full(_peer: TrustedPeer) -> None:
            raise SystemServiceFailed("no space")

        await rested(one)
        one.unit.own_names._keep = full
        one.unit.own_names.heard(one.device(other), "gamma")
        assert name_of(one, other.id) == "gamma"
        kept = one.unit.trust.get(other.id)
        assert kept is not None
        assert kept.own_name == other.name


async def test_many_names_are_the_first_and_the_last(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        device = one.device(other)
        written: list[str] = []

        def keep(peer: TrustedPeer) -> None:
            written.append(peer.own_name)
            one.unit.keep(peer)

        await rested(one)
        one.unit.own_names._keep = keep
        for number in range(1000):
            one.unit.own_names.heard(device, f"name {number}\n")
        one.unit.own_names.heard(device, " the last\n")
        await one.heard.until(lambda: device.name == "the last")
        assert written == ["name 0", "the last"]
        # what is late is nothing to a device that is not trusted any more
        one.unit.own_names.heard(device, "x" * 255)
        one.unit.timers.drop(("name", other.id))
        one.commands.unpair(other.id)
        one.unit.own_names._rested(other.id)
        assert one.unit.devices.get(other.id) is None
