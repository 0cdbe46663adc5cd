# SPDX-License-Identifier: Apache-2.0
"""Whose login is held, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from missiond.agent import logouts
from missiond.agent.degraded import Degraded
from missiond.agent.kept_groups import KeptGroups
from missiond.agent.logouts import LoginHost, Logouts
from missiond.agent.ward_files import WardFiles
from missiond.core.protection import Protections
from missiond.core.ward import Cgroup, Ward
from missiond.host.keep_units import KeepFailed
from missiond.host.logins import LoginsUnknown, Session
from missiond.state.lease_files import LeaseFiles

SESSION = "user.slice/user-1000.slice/session-7.scope"
UNIT = "user.slice/user-1000.slice/user@1000.service/app.slice/a.scope"


class Logind:
    """Sessions and what it does about them."""

    def __init__(self) -> None:
        self.answers = True
        self.killing = True
        self.lingering = False
        self.sessions = {"7": Session(leader=99, closing=False)}

    async def kills(self, _uid: int) -> bool:
        if not self.answers:
            raise LoginsUnknown("no answer")
        return self.killing

    async def lingers(self, _uid: int) -> bool:
        return self.lingering

    async def session(self, session_id: str) -> Session | None:
        return self.sessions.get(session_id)


class Units:
    """Notes what is started and stopped."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, int]] = []
        self.fails = False

    async def start(self, uid: int) -> None:
        if self.fails:
            raise KeepFailed("not authorised")
        self.jobs.append(("start", uid))

    async def stop(self, uid: int) -> None:
        self.jobs.append(("stop", uid))


class Groups(KeptGroups):
    """Notes what goes in and out; empties at once."""

    def __init__(self) -> None:
        self.taken: list[Ward] = []
        self.open: list[bool] = []

    def spare(self, ward: Ward) -> None:
        pass

    async def take_in(self, ward: Ward, home: Cgroup) -> bool:
        ward.home = home
        self.taken.append(ward)
        return True

    async def empty(self, _ward: Ward, _home: Cgroup, _neighbours: Sequence[Ward], *, is_open: bool) -> bool:
        self.open.append(is_open)
        return True


class World:
    """A root of cgroups, and all that is asked."""

    def __init__(self, place: Path) -> None:
        self.root = place / "cgroup"
        (self.root / SESSION).mkdir(parents=True)
        self.logind, self.units, self.groups, self.degraded = Logind(), Units(), Groups(), Degraded()
        files = WardFiles(LeaseFiles(place / "run"), Protections())
        host = LoginHost(self.logind, self.units)
        self.logouts = Logouts(host, self.groups, files, self.degraded, self.root)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ward(cgroup: str, uid: int = 1000, pid: int = 42) -> Ward:
    return Ward(pid, pid, 7, uid, cgroup, 1, {1})


async def test_a_session_that_is_killed_is_left(world: World) -> None:
    it = ward(SESSION)
    assert await world.logouts.hold(it)
    assert (world.groups.taken, it.pinned, world.units.jobs) == ([it], True, [("start", 1000)])
    assert await world.logouts.let_go(it, [it])
    assert (world.groups.open, it.home, it.pinned) == ([True], None, False)
    await world.logouts.tidy([it])
    assert world.units.jobs == [("start", 1000), ("stop", 1000)]


@pytest.mark.parametrize(
    "cgroup", [SESSION, "", "system.slice/backup.service", "user.slice/user-1000.slice/x.scope"]
)
async def test_nothing_is_done_where_logout_does_nothing(world: World, cgroup: str) -> None:
    world.logind.killing = False
    assert await world.logouts.hold(ward(cgroup))
    assert (world.groups.taken, world.units.jobs) == ([], [])


@pytest.mark.parametrize(
    "it",
    [ward(SESSION, uid=0), ward(SESSION, uid=1001), ward(SESSION, pid=99)],
    ids=["root", "other", "leader"],
)
async def test_whom_logout_does_not_concern(world: World, it: Ward) -> None:
    assert await world.logouts.hold(it)
    assert (world.groups.taken, world.units.jobs) == ([], [])


@pytest.mark.parametrize("lingers", [True, False])
async def test_a_unit_of_the_manager_stays_where_it_is(world: World, lingers: bool) -> None:
    world.logind.killing, world.logind.lingering = False, lingers
    one, two = ward(UNIT), ward(UNIT, pid=43)
    for it in (one, two):
        assert await world.logouts.hold(it)
    assert world.groups.taken == []
    (world.root / "user.slice/user-1000.slice/missiond-keep@1000.service").mkdir()
    assert world.units.jobs == ([] if lingers else [("start", 1000)] * 2)
    await world.logouts.hold(two)
    assert world.units.jobs == ([] if lingers else [("start", 1000)] * 2)
    await world.logouts.let_go(one, [two])
    await world.logouts.tidy([two])
    assert ("stop", 1000) not in world.units.jobs


async def test_what_can_not_be_held_is_said(world: World) -> None:
    world.units.fails = True
    it = ward(SESSION)
    assert await world.logouts.hold(it)
    assert "not authorised" in world.degraded.sentences[0]
    world.units.fails = False
    world.logind.answers = False
    assert await world.logouts.hold(it)
    assert "no answer" in world.degraded.sentences[0]
    world.logind.answers = True
    assert await world.logouts.hold(it)
    assert (world.degraded.sentences, world.groups.taken) == ([], [it])


async def test_what_can_not_be_held_is_held_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logouts, "FIRST_PAUSE", 0.01)
    world.logouts.close()
    again = asyncio.Event()
    world.logouts.again = again.set
    world.units.fails = True
    it = ward(SESSION)
    for _ in range(2):
        await world.logouts.hold(it)
        await asyncio.wait_for(again.wait(), 10)
        again.clear()
    world.units.fails = False
    await world.logouts.hold(it)
    assert world.degraded.sentences == []
    world.units.fails = True
    await world.logouts.hold(it)
    await world.logouts.tidy([])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.wait(), 0.1)


@pytest.mark.parametrize("how", ["gone", "closing", "another"])
async def test_no_way_back(world: World, how: str) -> None:
    it = ward(SESSION)
    await world.logouts.hold(it)
    if how == "gone":
        (world.root / SESSION).rmdir()
    elif how == "closing":
        world.logind.sessions["7"] = Session(leader=99, closing=True)
    else:
        world.logind.sessions.clear()
    assert await world.logouts.let_go(it, [it])
    assert world.groups.open == [False]


async def test_what_an_earlier_run_started_is_stopped(world: World) -> None:
    (world.root / "user.slice/user-1001.slice/missiond-keep@1001.service").mkdir(parents=True)
    world.logouts.load()
    await world.logouts.tidy([])
    assert world.units.jobs == [("stop", 1001)]
