# SPDX-License-Identifier: Apache-2.0
"""Discovery against a stand-in for Avahi that fails, hangs and vanishes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from missiond.bus.connection import Connection
from missiond.common.backoff import Backoff
from missiond.host.avahi import browser, bus
from missiond.host.avahi.avahi import NO_AVAHI, Avahi
from missiond.host.avahi.records import Announcement
from standins.services.avahi import IPV6, AvahiStandIn, Seen, running_avahi

OWN, A, B = "0" * 64, "a" * 64, "b" * 64
HOST = Announcement(OWN, "this host", 8637)


class World:
    """Avahi, who uses it, and what that one was told."""

    def __init__(self, daemon: AvahiStandIn, connection: Connection) -> None:
        self.daemon = daemon
        self.sources: dict[str, dict[str, tuple[Sequence[str], int]]] = {}
        """Device to source to addresses and port."""
        self.state: str | None = "not started"
        self._more = asyncio.Event()
        self.avahi = Avahi(connection, OWN, self.found, self.lost, self._on_state)

    def found(self, device_id: str, source: str, addresses: Sequence[str], port: int, name: str) -> None:
        assert source.split("/")[2] == name
        self.sources.setdefault(device_id, {})[source] = (addresses, port)
        self._more.set()

    def lost(self, device_id: str, source: str) -> None:
        del self.sources[device_id][source]
        if not self.sources[device_id]:
            del self.sources[device_id]
        self._more.set()

    def _on_state(self, sentence: str | None) -> None:
        self.state = sentence
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._more.clear()
            await self._more.wait()

    async def settled(self) -> None:
        """Everything that Avahi said so far was heard."""
        before = len(self.daemon.called("GetState"))
        await self.avahi._connection.call(bus.NAME, "/", bus.SERVER2, "GetState")
        assert len(self.daemon.called("GetState")) > before

    async def called(self, method: str, times: int = 1) -> None:
        """So many calls were made and answered."""
        await self.daemon.until_called(method, times)
        await self.settled()

    async def close(self) -> None:
        """Follow Avahi no longer; what has to end for that has ended."""
        reading = self.avahi._follower._reading
        self.avahi.close()
        if reading is not None:
            await asyncio.wait([reading])

    def addresses(self, device_id: str) -> list[str]:
        return sorted(one for found, _ in self.sources.get(device_id, {}).values() for one in found)


@pytest.fixture(params=["eager", "patient"])
async def world(
    system_bus: str, connection: Connection, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    async with running_avahi(system_bus) as daemon:
        daemon.eager = request.param == "eager"
        made = World(daemon, connection)
        yield made
        await made.close()


def seen(name: str = "other", device: str = A, **more: object) -> Seen:
    return Seen(name, (b"id=" + device.encode(), b"v=1"), **more)  # type: ignore[arg-type]


async def test_announced_and_found(world: World) -> None:
    world.daemon.announce(seen())
    await world.avahi.start(HOST)
    await world.until(lambda: world.state is None and A in world.sources)
    assert world.daemon.published == [("this host", 8637, [b"id=" + OWN.encode(), b"v=1"])]
    assert world.sources == {A: {"2/0/other/local": (("192.0.2.1",), 8637)}}


async def test_nothing_is_announced_unless_that_is_wanted(world: World) -> None:
    world.daemon.announce(seen())
    await world.avahi.start(None)
    await world.until(lambda: world.state is None and A in world.sources)
    assert world.daemon.groups == {}
    world.avahi.announce(HOST)
    await world.called("Commit")
    world.avahi.announce(Announcement(OWN, "renamed", 9))
    await world.called("Commit", 2)
    assert [entry[:2] for entry in world.daemon.published] == [("renamed", 9)]
    world.avahi.announce(None)
    await world.called("Reset", 2)
    assert world.daemon.published == []


async def test_several_interfaces_and_protocols_are_several_sources(world: World) -> None:
    every = [
        seen(),
        seen(interface=3, address="198.51.100.7"),
        seen(protocol=IPV6, address="fe80::1"),
        seen(interface=3, protocol=IPV6, address="2001:db8::1"),
    ]
    await world.avahi.start(None)
    for one in every:
        world.daemon.announce(one)
    await world.until(lambda: len(world.addresses(A)) == 4)
    assert world.addresses(A) == ["192.0.2.1", "198.51.100.7", "2001:db8::1", "fe80::1%2"]
    for one in every[:-1]:
        world.daemon.withdraw(one)
    await world.until(lambda: world.addresses(A) == ["2001:db8::1"])
    world.daemon.withdraw(every[-1])
    await world.until(lambda: not world.sources)
    await world.called("Free", 4)
    assert world.daemon.resolvers == {}


async def test_changes_of_one_announcement(world: World) -> None:
    await world.avahi.start(None)
    world.daemon.announce(seen())
    await world.until(lambda: A in world.sources)
    world.daemon.announce(seen(address="192.0.2.9", port=1))
    await world.until(lambda: world.addresses(A) == ["192.0.2.9"])
    world.daemon.announce(seen(device=B))
    await world.until(lambda: list(world.sources) == [B])
    world.daemon.announce(Seen("other", (b"v=1",)))
    await world.until(lambda: not world.sources)


async def test_itself_is_not_found(world: World) -> None:
    await world.avahi.start(HOST)
    world.daemon.announce(seen("this host", OWN, flags=16))
    world.daemon.announce(seen())
    await world.until(lambda: A in world.sources)
    assert list(world.sources) == [A]


async def test_a_name_that_was_our_own_is_another_hosts_after_a_collision(world: World) -> None:
    """Avahi does not tell of it as of a new one."""
    await world.avahi.start(HOST)
    world.daemon.announce(seen("this host", OWN, flags=16))
    await world.called("Start", 2)
    world.daemon.announce(seen("this host", B, flags=0))
    await world.until(lambda: list(world.sources) == [B])


@pytest.mark.parametrize(
    "rubbish",
    [
        Seen("x", ()),
        Seen("x", (b"id=",)),
        Seen("x", (b"id=" + b"A" * 64,)),
        Seen("x", (b"id=" + b"a" * 63,)),
        Seen("x", (b"id=" + b"a" * 65,)),
        Seen("x", (b"id=" + b"g" * 64, b"id=" + b"a" * 64)),
        Seen("x", (b"", b"\xff\xfe", b"id")),
        Seen("x", (b"n=1",) * 40 + (b"id=" + b"a" * 64,)),
        Seen("x", (b"id=" + b"a" * 64,), port=0),
        Seen("x", (b"id=" + b"a" * 64,), address="not an address"),
        Seen("x", (b"id=" + b"a" * 64,), address="::1"),
        Seen("x", (b"id=" + b"a" * 64,), address="224.0.0.251"),
        Seen("x", (b"id=" + b"a" * 64,), address="0.0.0.0"),
    ],
)
async def test_rubbish_is_passed_over(world: World, rubbish: Seen) -> None:
    await world.avahi.start(None)
    world.daemon.announce(rubbish)
    world.daemon.announce(seen(device=B))
    await world.until(lambda: B in world.sources)
    assert list(world.sources) == [B]


async def test_the_daemon_restarts(world: World) -> None:
    world.daemon.announce(seen())
    await world.avahi.start(HOST)
    await world.until(lambda: world.state is None and A in world.sources)
    await world.daemon.vanish()
    await world.until(lambda: world.state == NO_AVAHI)
    assert world.sources == {}
    await world.daemon.appear()
    await world.until(lambda: world.state is None and A in world.sources)
    assert [entry[0] for entry in world.daemon.published] == ["this host"]


async def test_no_daemon_at_first(world: World) -> None:
    await world.daemon.vanish()
    await world.avahi.start(HOST)
    assert world.state == NO_AVAHI
    world.daemon.seen.append(seen())
    await world.daemon.appear()
    await world.until(lambda: world.state is None and A in world.sources)


async def test_collisions_take_another_name_on_the_same_group(world: World) -> None:
    world.daemon.taken = {"this host", "this host #2"}
    await world.avahi.start(HOST)
    await world.until(lambda: world.state is None)
    assert [entry[0] for entry in world.daemon.published] == ["this host #3"]
    world.daemon.collide()
    await world.called("Commit", 2)
    assert [entry[0] for entry in world.daemon.published] == ["this host #4"]
    assert len(world.daemon.called("EntryGroupNew")) == 1


async def test_all_names_taken(world: World) -> None:
    world.daemon.taken = {"this host", *(f"this host #{number}" for number in range(99))}
    await world.avahi.start(HOST)
    await world.until(lambda: "all names are taken" in (world.state or ""))


async def test_the_host_gets_another_name(world: World) -> None:
    """Avahi takes all entries back while it looks for one, and tells when they may come again."""
    world.daemon.state = 1
    await world.avahi.start(HOST)
    await world.settled()
    assert world.daemon.published == []
    world.daemon.set_state(bus.SERVER_RUNNING)
    await world.called("Commit")
    world.daemon.set_state(3)
    await world.called("Reset")
    assert world.daemon.published == []
    world.daemon.set_state(bus.SERVER_RUNNING)
    await world.called("Commit", 2)
    assert [entry[0] for entry in world.daemon.published] == ["this host"]


async def test_a_state_that_changes_behind_the_answer(world: World) -> None:
    """Both come at once; the answer is the older one."""
    for turn in range(10):
        world.daemon.state = 1
        world.daemon.hanging.add("GetState")
        before = len(world.daemon.called("GetState"))
        await world.avahi.start(HOST)
        await world.daemon.until_called("GetState", before + 1)
        world.daemon.answer_held()
        await asyncio.sleep(0)
        world.daemon.set_state(bus.SERVER_RUNNING)
        await world.called("Commit", turn + 1)
        await world.close()


async def test_publishing_may_be_forbidden(world: World) -> None:
    world.daemon.failures["AddService"] = (bus.NOT_PERMITTED, "Not permitted")
    world.daemon.announce(seen())
    await world.avahi.start(HOST)
    await world.until(lambda: "disable-user-service-publishing" in (world.state or ""))
    await world.until(lambda: A in world.sources)


@pytest.mark.parametrize("broken", ["GetState", "ServiceBrowserPrepare", "EntryGroupNew", "Commit"])
async def test_failures_are_told_and_tried_again(
    world: World, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.avahi._follower.pauses = Backoff(0.01, 1.0)
    world.daemon.failures[broken] = ("org.freedesktop.Avahi.FailureError", "broken")
    world.daemon.announce(seen())
    await world.avahi.start(HOST)
    await world.until(lambda: "Avahi fails" in (world.state or ""))
    world.daemon.failures.clear()
    await world.until(lambda: world.state is None and A in world.sources)
    assert len(world.daemon.published) == 1
    assert len(world.daemon.browsers) == 1
    assert len(world.daemon.resolvers) == 1


async def test_what_fails_later_is_made_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.avahi._follower.pauses = Backoff(0.01, 1.0)
    world.daemon.announce(seen())
    await world.avahi.start(HOST)
    await world.until(lambda: world.state is None and A in world.sources)
    for break_ in (world.daemon.break_browsers, world.daemon.break_groups):
        break_()
        await world.until(lambda: "Avahi fails" in (world.state or ""))
        await world.until(lambda: world.state is None and A in world.sources)
        assert len(world.daemon.published) == len(world.daemon.browsers) == 1


async def test_a_daemon_that_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "PATIENCE", 0.1)
    world.avahi._follower.pauses = Backoff(0.01, 1.0)
    world.daemon.hanging.add("ServiceBrowserPrepare")
    await world.avahi.start(HOST)
    await world.until(lambda: "no reply" in (world.state or ""))
    world.daemon.hanging.clear()
    world.daemon.seen.append(seen())
    await world.until(lambda: world.state is None and A in world.sources)


async def test_a_name_that_cannot_be_resolved_keeps_nobody_from_being_found(world: World) -> None:
    world.daemon.failures["ServiceResolverPrepare"] = ("org.freedesktop.Avahi.InvalidServiceNameError", "")
    await world.avahi.start(None)
    world.daemon.announce(seen("bad"))
    await world.called("ServiceResolverPrepare")
    await world.settled()
    world.daemon.failures.clear()
    world.daemon.announce(seen("good", B))
    await world.until(lambda: list(world.sources) == [B])


async def test_a_flood_is_bounded_and_gets_its_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "MOST", 5)
    monkeypatch.setattr(browser, "WAITING", 6)
    await world.avahi.start(None)
    flood = [seen(f"n{number}", f"{number:064x}") for number in range(1, 21)]
    for one in flood:
        world.daemon.announce(one)
    await world.until(lambda: len(world.sources) == 5)
    await world.settled()
    assert len(world.daemon.resolvers) == 5
    for one in flood[:5]:
        world.daemon.withdraw(one)
    await world.until(lambda: set(world.sources) == {f"{number:064x}" for number in range(6, 11)})
    assert len(world.avahi._session._browser._waiting) == 1  # type: ignore[union-attr]


async def test_gone_before_it_was_resolved(world: World) -> None:
    await world.avahi.start(None)
    await world.called("Start")
    world.daemon.hanging.add("ServiceResolverPrepare")
    one = seen()
    world.daemon.announce(one)
    await world.daemon.until_called("ServiceResolverPrepare")
    world.daemon.withdraw(one)
    await world.settled()
    world.daemon.answer_held()
    await world.called("Free")
    assert world.sources == {}
    assert world.daemon.resolvers == {}


def test_labels() -> None:
    assert Announcement(OWN, "a\nb", 1).label == "ab"
    assert Announcement(OWN, " \t", 1).label == "missiond"
    assert Announcement(OWN, "ä" * 40, 1).label == "ä" * 31
