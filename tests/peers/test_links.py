# SPDX-License-Identifier: Apache-2.0
"""Peers that trust each other: how they meet, part and meet again."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path
from typing import Any

import pytest

from missiond.errors import DistributedServiceFailed, InvalidParameter, MissionNotFound
from missiond.peers import dialer as dialer_module
from missiond.peers import links as links_module
from missiond.peers.dialer import Dialer
from missiond.peers.make_identity import make, store
from missiond.peers.transport.address import Address
from missiond.peers.transport.channel import Channel
from missiond.peers.transport.connect import NotReached, connect
from standins.agents.peer_units import QUICK, Place, places, row, trust

UNKNOWN = "TLS: certificate verify failed"


async def meet(one: Place, other: Place) -> None:
    """Let two trust each other and connect, the first one dialling."""
    trust(other, one, address=False)
    trust(one, other)
    await one.until_connected(other)
    await other.until_connected(one)


async def test_two_that_know_ids_alone_introduce_themselves(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        known = [place.unit.trust.get(peer.id) for place, peer in ((one, other), (other, one))]
        certificates = [place.unit.identity.certificate for place in (other, one)]
        assert [peer and peer.certificate for peer in known] == certificates
        assert one.commands.list_peers() == [(other.id, other.name, "connected", [other.address], ["sync"])]


async def test_trust_may_come_in_any_order(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        trust(one, other)
        await other.heard.until(
            lambda: ("a connection from 127.0.0.1", UNKNOWN) in other.heard.of("complaint")
        )
        trust(other, one, address=False)
        await one.until_connected(other)


async def test_lists_follow(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        other.unit.publish([row(1), row(2)])
        await meet(one, other)
        one.commands.start_sync(other.id, False, 0)
        assert await one.commands.missions(other.id, 1) == [row(1)]
        await one.until_lists(other, [row(1), row(2)])
        other.unit.publish_changes([row(3)], [1])
        await one.until_lists(other, [row(2), row(3)])
        assert (await one.commands.mission_info(other.id, 3))["mission-id"] == ("u", 3)
        assert (await one.commands.mission_snapshot(other.id, 3))["what"] == ("s", "snapshot")
        with pytest.raises(MissionNotFound):
            await one.commands.mission_info(other.id, 99)


async def test_a_list_that_is_wanted_while_the_link_is_coming_up(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        other.unit.publish([row(1)])
        trust(other, one, address=False)
        trust(one, other)
        while one.device(other).link is None:
            await asyncio.sleep(0)
        assert not one.device(other).connected
        one.commands.start_sync(other.id, False, 0)
        await one.until_lists(other, [row(1)])


async def test_snapshots_are_news_while_somebody_wants_them(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        other.unit.publish([row(1)])
        await meet(one, other)
        one.commands.watch_snapshots(other.id, True)
        one.commands.start_sync(other.id, False, 0)
        await other.heard.until(lambda: other.heard.snapshots)
        await one.until_lists(other, [row(1)])
        other.unit.links.snapshot_changed(1)
        await one.heard.until(lambda: (other.id, 1) in one.heard.of("snapshot"))
        one.commands.watch_snapshots(other.id, False)
        await other.heard.until(lambda: not other.heard.snapshots)


async def test_both_dial_and_one_link_stays(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [low, high]:
        trust(low, high)
        trust(high, low)
        await low.until_connected(high)
        await high.until_connected(low)
        for place in (low, high):
            await place.heard.until(lambda place=place: len(list(place.unit.links)) == 1)  # type: ignore[misc]
        link, mirror = low.device(high).link, high.device(low).link
        assert link is not None
        assert mirror is not None
        assert link.dialler == mirror.dialler


@pytest.mark.parametrize("dialler", [0, 1])
async def test_a_link_of_which_the_other_side_knows_nothing_gives_way(
    tmp_path: Path, dialler: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host lost power, say, and dials again from the other side."""
    monkeypatch.setattr(links_module, "_YOUNG", 0)
    async with places(tmp_path, "alpha", "beta", pace=1.0) as both:
        caller, called = both[dialler], both[1 - dialler]
        await meet(called, caller)
        old = called.device(caller).link
        lost = caller.device(called).link
        assert lost is not None
        forgetful = caller.device(called)
        forgetful.link, forgetful.present = None, False  # nothing was said on the wire
        caller.unit.devices.touch(forgetful)
        trust(caller, called)
        await caller.until_connected(called)
        await caller.commands.mission_info(called.id, 1)
        assert called.device(caller).link not in (None, old)
        assert called.heard.of("disconnected") == []


async def test_a_peer_that_restarts_is_met_again(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        await meet(one, other)
        one.commands.start_sync(other.id, False, 0)
        other.unit.publish([row(1)])
        await one.until_lists(other, [row(1)])
        await other.stop()
        await one.heard.until(lambda: one.heard.of("disconnected") == [(other_id(one),)])
        with pytest.raises(DistributedServiceFailed, match="not connected"):
            await one.commands.missions(other_id(one), 10)
        other.start()
        other.unit.publish([row(2)])
        await one.until_connected(other)
        await one.until_lists(other, [row(2)])


def other_id(place: Place) -> str:
    """Return the id of the only peer, whether that runs or not."""
    [peer] = place.unit.trust
    return peer.device_id


async def test_what_is_wanted_survives_a_restart_of_the_one_who_wants_it(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        other.unit.publish([row(1), row(2, tag=7)])
        await meet(one, other)
        one.commands.start_sync(other.id, False, 7)
        await one.until_lists(other, [row(2, tag=7)])
        await one.stop()
        one.start()
        await one.until_connected(other)
        await one.until_lists(other, [row(2, tag=7)])
        one.commands.stop_sync(other.id)
        with pytest.raises(DistributedServiceFailed, match="not synchronised"):
            await one.commands.missions(other.id, 10)
        one.commands.start_sync(other.id, False, 0)
        await one.until_lists(other, [row(1), row(2, tag=7)])


async def test_a_broken_connection_comes_back(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        await meet(one, other)
        link = one.device(other).link
        assert link is not None
        link._channel.cut_off("a cable was pulled")
        await one.heard.until(lambda: one.device(other).link is not link)
        await one.until_connected(other)
        await other.until_connected(one)


async def test_unpairing_cuts_the_live_link_at_once_and_for_good(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        other.unit.publish([row(1)])
        await meet(one, other)
        one.commands.start_sync(other.id, False, 0)
        await one.until_lists(other, [row(1)])
        other.commands.unpair(one.id)
        assert other.unit.devices.get(one.id) is None
        assert other.heard.of("gone") == [(one.id,)]
        assert list((other.directory / "peers").iterdir()) == []
        await one.heard.until(lambda: not one.device(other).connected)
        # it dials again, and shows a certificate that nobody knows
        one.unit.dialer.wake(one.device(other))
        await other.heard.until(
            lambda: ("a connection from 127.0.0.1", UNKNOWN) in other.heard.of("complaint")
        )
        assert list(other.unit.links) == []
        assert not one.device(other).connected
        await one.heard.until(
            lambda: [what for _, what in one.heard.of("complaint") if "let this host in" in what]
        )
        with pytest.raises(InvalidParameter, match="not paired"):
            other.commands.start_sync(one.id, False, 0)


async def test_a_changed_key_is_a_stranger(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        before = other.id
        await other.stop()
        store(other.directory, make())
        other.start()
        assert other.id != before
        one.unit.dialer.wake(one.device(before))
        await one.heard.until(
            lambda: [what for _, what in one.heard.of("complaint") if "another device" in what]
        )
        assert not one.device(before).connected
        assert one.unit.devices.get(other.id) is None


async def test_permissions_count_at_once(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        other.unit.publish([row(1)])
        await meet(one, other)
        other.commands.set_peer_permissions(one.id, [])
        one.commands.start_sync(other.id, False, 0)
        with pytest.raises(DistributedServiceFailed, match="does not let this host see"):
            await one.commands.missions(other.id, 10)
        other.commands.set_peer_permissions(one.id, ["continue", "sync"])
        await one.until_lists(other, [row(1)])
        assert other.device(one).row[4] == ["sync", "continue"]
        with pytest.raises(InvalidParameter, match="not 'fly'"):
            other.commands.set_peer_permissions(one.id, ["fly"])


async def test_versions_that_differ_are_a_conflict_for_people_to_decide(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as [one, other]:
        await other.stop()
        other.options["versions"] = (1, 2)
        other.start()
        other.unit.publish([row(1)])
        await meet(one, other)
        with pytest.raises(DistributedServiceFailed, match=r"1.*2|2.*1"):
            one.commands.start_sync(other.id, False, 0)
        one.commands.start_sync(other.id, True, 0)
        await one.until_lists(other, [row(1)])


async def test_discovery_brings_peers_together_and_strangers_into_the_list(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        one.unit.found(one.id, "test", ["127.0.0.1"], one.unit.port)
        assert one.commands.list_peers() == []
        one.discover(other)
        assert one.commands.list_peers() == [(other.id, "", "discovered", [other.address], [])]
        one.unit.lost(other.id, "test")
        assert one.heard.of("gone") == [(other.id,)]
        trust(one, other, address=False)
        trust(other, one, address=False)
        assert one.device(other).state == "offline"
        one.discover(other)
        await one.until_connected(other)
        one.unit.lost(other.id, "test")
        assert one.device(other).connected


async def test_a_peer_that_discovery_lost_sight_of_is_dialled_where_it_was(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        for here, there in ((one, other), (other, one)):
            trust(here, there, address=False)
        one.discover(other)
        await one.until_connected(other)
        one.unit.lost(other.id, "test")
        assert one.device(other).addresses == []
        known = one.device(other)
        await other.stop()
        await one.heard.until(lambda: one.heard.of("disconnected"))
        other.start()
        await one.heard.until(lambda: known.connected)


async def test_a_network_that_is_back_is_tried_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is away would be dialled in an hour, and who is there asked for a word in minutes."""
    monkeypatch.setattr(Dialer, "_pause", lambda *_: 3_600_000)
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        known = one.device(other)
        await other.stop()
        await one.heard.until(lambda: one.heard.of("disconnected"))
        other.start()
        other.unit.dialer.forget(other.device(one))
        one.unit.network_changed()
        await one.heard.until(lambda: known.connected)
        assert known.link is not None
        one.unit.network_changed()
        assert known.link.session._silence.ping == 1


async def test_a_dial_into_a_network_that_was_not_there_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = asyncio.Event()

    async def lost(*_arguments: object) -> Channel:
        dialled.set()
        found: Channel = await asyncio.get_running_loop().create_future()
        return found

    async with places(tmp_path, "alpha", "beta") as [one, other]:
        monkeypatch.setattr(dialer_module, "connect", lost)
        trust(other, one, address=False)
        trust(one, other)
        await dialled.wait()
        monkeypatch.undo()
        one.unit.network_changed()
        await one.until_connected(other)


async def test_many_strangers_on_the_network_do_not_fill_the_memory(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        for number in range(1000):
            one.unit.found(f"{number:064x}", "a", ["192.0.2.1"] * 100, 1)
        for number in range(100):
            one.unit.found(f"{1:064x}", f"s{number}", ["192.0.2.1"], 1)
        assert len(one.commands.list_peers()) == 256
        assert len(one.device(f"{1:064x}").sources) == 16


SEEN = "does not let this host see its missions; on beta: missionctl peers allow alpha sync"


async def until_refused(one: Place, other: Place, times: int) -> None:
    """Wait until a peer has refused so often."""
    await one.heard.until(lambda: len(one.heard.of("refused")) == times)
    for question in (one.commands.missions, one.commands.mission_info, one.commands.mission_snapshot):
        with pytest.raises(DistributedServiceFailed, match=SEEN):
            await question(other.id, 1)


async def test_what_a_peer_took_back_is_not_shown_until_it_is_given_again(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as both:
        one, other = sorted(both, key=lambda place: place.name)
        other.unit.publish([row(1)])
        await meet(one, other)
        one.commands.start_sync(other.id, False, 0)
        await one.until_lists(other, [row(1)])
        assert await one.commands.missions(other.id, 10) == [row(1)]
        other.commands.set_peer_permissions(one.id, ["continue"])
        await until_refused(one, other, 1)
        other.unit.publish([])
        one.commands.start_sync(other.id, False, 0)  # again
        await until_refused(one, other, 2)
        # over a new connection
        links = len(one.heard.of("link up"))
        one.unit.links.cut_off(one.device(other), "test")
        await one.heard.until_link(other.id, links + 1)
        with pytest.raises(DistributedServiceFailed, match=SEEN):
            await one.commands.missions(other.id, 1)
        await until_refused(one, other, 3)
        # and it is back by itself, and told of, though it is what it was
        other.unit.publish([row(1)])
        told = len(one.heard.of("list"))
        other.commands.set_peer_permissions(one.id, ["sync"])
        await one.heard.until(lambda: len(one.heard.of("list")) > told)
        assert await one.commands.missions(other.id, 10) == [row(1)]
        assert (await one.commands.mission_info(other.id, 1))["mission-id"] == ("u", 1)


async def test_a_question_without_a_list_names_the_permission_that_it_takes(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as both:
        one, other = sorted(both, key=lambda place: place.name)
        await meet(one, other)
        other.commands.set_peer_permissions(one.id, [])
        with pytest.raises(DistributedServiceFailed, match=SEEN):
            await one.commands.mission_info(other.id, 1)


async def test_two_hosts_that_use_one_id_in_turns_are_told_of_once(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as both:
        one, other = sorted(both, key=lambda place: place.name)
        await meet(one, other)
        links = 1
        runs = ["first", "first", "second", "third", "third", "second"]

        def lacks() -> list[str]:
            return [text for what, text in one.heard.of("lacks") if what.startswith("clone")]

        for run in runs:
            assert lacks() == []  # restarts are none
            other.unit.links._terms = dataclasses.replace(
                other.unit.links._terms,
                local=dataclasses.replace(other.unit.links._terms.local, instance=run),
            )
            links += 1
            one.unit.links.cut_off(one.device(other), "test")
            await one.heard.until_link(other.id, links)
        [sentence] = lacks()
        assert "beta" in sentence
        assert "two hosts use the id" in sentence


async def test_the_own_id_elsewhere_is_told_of(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        one.unit.found(one.id, "test", ["127.0.0.1"], 8637)
        assert one.heard.of("lacks") == []
        one.unit.found(one.id, "test", ["192.0.2.9"], 8637)
        [(what, sentence)] = one.heard.of("lacks")
        assert what == "own id"
        assert "192.0.2.9" in sentence
        assert one.commands.list_peers() == []


async def test_all_addresses_of_a_name_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is of nobody, the second of another host."""
    found = socket.getaddrinfo

    def getaddrinfo(host: Any, port: int, *more: Any, **options: Any) -> list[Any]:
        if host not in ("desk", b"desk.local"):
            return found(host, port, *more, **options)
        dead = [] if one_alone else [*found("::1", 1), *found("127.0.0.1", third.unit.port)]
        return [*dead, *found("127.0.0.1", port)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    one_alone = False
    async with places(tmp_path, "alpha", "beta", "gamma") as [one, other, third]:
        for name in ("desk", "desk.local"):
            channel = await connect(
                other.id, [Address(name, other.unit.port)], one.unit._contexts.stranger, one.unit.channels
            )
            channel.cut_off("test")
        one_alone = True
        channel = await connect(
            other.id, [Address("desk", other.unit.port)], one.unit._contexts.stranger, one.unit.channels
        )
        channel.cut_off("test")
        with pytest.raises(NotReached, match=r"desk:\d+: Connection refused"):
            await connect(other.id, [Address("desk", 1)], one.unit._contexts.stranger, one.unit.channels)


async def test_why_a_peer_is_offline_is_told(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other)
        assert one.commands.list_details() == [(other.id, "", False)]
        one.commands.start_sync(other.id, False, 0)
        assert one.commands.list_details() == [(other.id, "", True)]
        port = other.unit.port
        await other.stop()
        await one.heard.until(lambda: "Connection refused" in one.commands.list_details()[0][1])
        assert one.heard.of("details")[-1][1:] == (f"127.0.0.1:{port}: Connection refused", True)
        other.start()
        one.unit.dialer.wake(one.device(other))
        await one.until_connected(other)
        assert one.commands.list_details() == [(other.id, "", True)]
        other.commands.unpair(one.id)
        await one.heard.until(lambda: "does not trust this host" in one.commands.list_details()[0][1])


async def test_what_others_call_a_stranger_is_shown_until_it_is_paired(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha") as [one]:
        one.unit.found("a" * 64, "test", ["192.0.2.1"], 8637, "desk\x1b[2J")
        assert one.commands.list_peers()[0][1] == "desk [2J"
        one.commands.trust_device("a" * 64, {})
        assert one.commands.list_peers()[0][1] == ""
