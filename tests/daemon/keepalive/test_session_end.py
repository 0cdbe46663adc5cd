# SPDX-License-Identifier: Apache-2.0
"""Whose login is held, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from missiond.common.backoff import Backoff
from missiond.config.settings import KeepAliveSettings as Settings
from missiond.core.keepalive.oom_ledger import Protections
from missiond.core.keepalive.protected_process import Cgroup, ProtectedProcess
from missiond.daemon.keepalive.keep_alive import KeepAlive, Neighbours
from missiond.daemon.keepalive.protected_store import WardFiles
from missiond.daemon.keepalive.session_end import LoginHost, SessionEnds
from missiond.daemon.keepalive.shortfalls import Shortfalls, words
from missiond.daemon.keepalive.survivor_cgroups import SurvivorCgroups
from missiond.degraded import Degraded
from missiond.host.helper import Helper
from missiond.host.systemd.logind_sessions import Logins, LoginSession, LoginsUnknown
from missiond.host.systemd.survivor_units import KeepFailed
from missiond.store.record_store import RecordStore

SESSION = "user.slice/user-1000.slice/session-7.scope"
UNIT = "user.slice/user-1000.slice/user@1000.service/app.slice/a.scope"


class Logind(Logins):
    """Sessions and what it does about them."""

    def __init__(self) -> None:
        self.answers = True
        self.killing = True
        self.lingering = False
        self.limited: set[str] = set()
        self.sessions = {"7": LoginSession(leader=99, closing=False)}

    async def kills(self, _uid: int) -> bool:
        if not self.answers:
            raise LoginsUnknown("no answer")
        return self.killing

    async def lingers(self, _uid: int) -> bool:
        return self.lingering

    async def session(self, session_id: str) -> LoginSession | None:
        return self.sessions.get(session_id)

    async def is_limited(self, scope: str) -> bool:
        return scope in self.limited


class Units:
    """Notes what is started and stopped."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, int]] = []
        self.fails = False
        self.stop_fails = False
        self.starting: asyncio.Event | None = None
        self.stopping: asyncio.Event | None = None

    async def start(self, uid: int) -> None:
        if self.fails:
            raise KeepFailed("not authorised")
        self.jobs.append(("start", uid))
        if self.starting is not None:
            await self.starting.wait()

    async def stop(self, uid: int) -> None:
        if self.stop_fails:
            raise KeepFailed("no answer")
        self.jobs.append(("stop", uid))
        if self.stopping is not None:
            await self.stopping.wait()


class Groups(SurvivorCgroups):
    """Notes what goes in and out; empties at once."""

    def __init__(self) -> None:
        self.taken: list[ProtectedProcess] = []
        self.open: list[bool] = []

    def spare(self, ward: ProtectedProcess) -> None:
        pass

    async def take_in(self, ward: ProtectedProcess, home: Cgroup) -> bool:
        ward.home = home
        self.taken.append(ward)
        return True

    def is_left(self, _ward: ProtectedProcess, _home: Cgroup) -> bool:
        return False

    async def empty(
        self,
        _ward: ProtectedProcess,
        _home: Cgroup,
        _neighbours: Sequence[ProtectedProcess],
        *,
        is_open: bool,
    ) -> bool:
        self.open.append(is_open)
        return True


class World:
    """A root of cgroups, and all that is asked."""

    def __init__(self, place: Path) -> None:
        self.root = place / "cgroup"
        (self.root / SESSION).mkdir(parents=True)
        self.logind, self.units, self.groups, self.degraded = Logind(), Units(), Groups(), Degraded()
        files = WardFiles(RecordStore(place / "run"), Protections())
        host = LoginHost(self.logind, self.units)
        self.wards: list[ProtectedProcess] = []
        self.again: Callable[[], None] = lambda: None
        shortfalls = Shortfalls(self.wards, self.degraded)
        self.logouts = SessionEnds(host, self.groups, files, shortfalls, lambda: self.again(), self.root)  # noqa: PLW0108 - tests replace it


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ward(cgroup: str, uid: int = 1000, pid: int = 42) -> ProtectedProcess:
    return ProtectedProcess(pid, pid, 7, uid, cgroup, 1, {1})


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
async def test_whom_logout_does_not_concern(world: World, it: ProtectedProcess) -> None:
    assert await world.logouts.hold(it)
    assert (world.groups.taken, world.units.jobs) == ([], [])


@pytest.mark.parametrize("cgroup", [SESSION, f"{SESSION}/box"])
async def test_limits_of_a_session_are_not_escaped(world: World, cgroup: str) -> None:
    world.logind.limited = {"session-7.scope"} if cgroup == SESSION else set()
    assert await world.logouts.hold(it := ward(cgroup))
    assert (world.groups.taken, it.pinned, world.units.jobs) == ([], False, [])
    assert words(it) == {"logout"}
    assert world.degraded.sentences == []  # that is how it is meant


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
    world.wards.append(it)
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
    monkeypatch.setattr(world.logouts, "_pauses", Backoff(0.01, 600.0))
    world.logouts.close()
    again = asyncio.Event()
    world.again = again.set
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
        world.logind.sessions["7"] = LoginSession(leader=99, closing=True)
    else:
        world.logind.sessions.clear()
    assert await world.logouts.let_go(it, [it])
    assert world.groups.open == [False]


async def test_a_login_is_held_for_missions_as_long_as_they_are_there(world: World) -> None:
    needed: set[int] = {0, 1000, 1001}
    world.logouts.needed = lambda: needed
    (world.root / "user.slice/user-1000.slice/missiond-keep@1000.service").mkdir()
    await world.logouts.hold_login(1000)
    await world.logouts.tidy([])
    (world.root / "user.slice/user-1001.slice/missiond-keep@1001.service").mkdir(parents=True)
    assert world.units.jobs == [("start", 1000), ("start", 1001)], "nobody logs root in"
    await world.logouts.tidy([])
    needed.remove(1000)
    await world.logouts.tidy([])
    assert world.units.jobs[2:] == [("stop", 1000)]
    needed.add(1000)
    await world.logouts.hold_login(1000)
    assert world.units.jobs[3:] == [("start", 1000)]


async def test_a_stop_does_not_cross_a_start(world: World) -> None:
    """A mission comes while the unit is being stopped that the last one needed."""
    needed: set[int] = {1000}
    world.logouts.needed = lambda: needed
    (world.root / "user.slice/user-1000.slice/missiond-keep@1000.service").mkdir()
    await world.logouts.hold_login(1000)
    needed.clear()
    world.units.stopping = asyncio.Event()
    tidying = asyncio.create_task(world.logouts.tidy([]))
    while len(world.units.jobs) < 2:
        await asyncio.sleep(0)
    needed.add(1000)
    holding = asyncio.create_task(world.logouts.hold_login(1000))
    await asyncio.sleep(0)
    world.units.stopping.set()
    await asyncio.gather(tidying, holding)
    assert world.units.jobs == [("start", 1000), ("stop", 1000), ("start", 1000)]


async def test_a_login_that_can_not_be_held_for_missions_is_held_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.logouts, "_pauses", Backoff(0.01, 600.0))
    world.logouts.close()
    again = asyncio.Event()
    world.again = again.set
    world.logouts.needed = lambda: {1000}
    world.units.fails = True
    await world.logouts.tidy([])
    assert "not authorised" in world.degraded.sentences[0]
    await asyncio.wait_for(again.wait(), 10)
    world.units.fails = False
    await world.logouts.tidy([])
    assert (world.degraded.sentences, world.units.jobs) == ([], [("start", 1000)])


async def test_nothing_is_let_go_before_missions_are_known(world: World, tmp_path: Path) -> None:
    """A restart of the agent is not the end of what an earlier run holds."""
    (world.root / "user.slice/user-1001.slice/missiond-keep@1001.service").mkdir(parents=True)
    helper, files = Helper(tmp_path / "none"), RecordStore(tmp_path / "leases")
    keep_alive = KeepAlive(Neighbours(helper), files, world.degraded, Settings())
    keep_alive._logouts = world.logouts
    keep_alive.load()
    keep_alive.review()
    await keep_alive.settle()
    assert world.units.jobs == []
    keep_alive.logins_needed(lambda: {1001})
    keep_alive.finish()
    await keep_alive.settle()
    assert world.units.jobs == []
    keep_alive.logins_needed(tuple)
    keep_alive.review()
    await keep_alive.settle()
    assert world.units.jobs == [("stop", 1001)]
    keep_alive.close()


async def test_what_an_earlier_run_started_is_stopped(world: World) -> None:
    (world.root / "user.slice/user-1001.slice/missiond-keep@1001.service").mkdir(parents=True)
    world.logouts.load()
    await world.logouts.tidy([])
    assert world.units.jobs == [("stop", 1001)]


async def test_what_can_not_be_let_go_is_let_go_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.logouts, "_pauses", Backoff(0.01, 600.0))
    world.logouts.close()
    again = asyncio.Event()
    world.again = again.set
    unit = world.root / "user.slice/user-1001.slice/missiond-keep@1001.service"
    unit.mkdir(parents=True)
    world.logouts.load()
    world.units.stop_fails = True
    for _ in range(2):
        await world.logouts.tidy([])
        await asyncio.wait_for(again.wait(), 10)
        again.clear()
    world.units.stop_fails = False
    await world.logouts.tidy([])
    assert world.units.jobs == [("stop", 1001)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.wait(), 0.1)


async def test_what_has_ended_before_is_not_stopped_again(world: World) -> None:
    unit = world.root / "user.slice/user-1001.slice/missiond-keep@1001.service"
    unit.mkdir(parents=True)
    world.logouts.load()
    unit.rmdir()
    world.units.stop_fails = True  # as systemd answers then
    await world.logouts.tidy([])
    world.units.stop_fails = False
    await world.logouts.tidy([])
    assert world.units.jobs == []


@pytest.mark.parametrize("first", [1000, 1001, None])
async def test_a_login_is_let_go_where_its_mission_ends_during_the_last_look(
    world: World, tmp_path: Path, first: int | None
) -> None:
    """A task of it may have ended before; `first` is let go then, else one is started again."""
    needed: set[int] = {1000, 1001}
    world.logouts.needed = lambda: needed
    keep_alive = KeepAlive(
        Neighbours(Helper(tmp_path / "none")), RecordStore(tmp_path / "leases"), world.degraded, Settings()
    )
    keep_alive._logouts = world.logouts
    keep_alive.load()
    keep_alive.finish()
    await keep_alive.settle()
    assert world.units.jobs == [("start", 1000), ("start", 1001)]
    if first is not None:
        needed.remove(first)
    else:
        (world.root / "user.slice/user-1001.slice/missiond-keep@1001.service").mkdir(parents=True)
    world.units.stopping = world.units.starting = asyncio.Event()
    keep_alive.review()
    while len(world.units.jobs) < 3:
        await asyncio.sleep(0)
    needed.clear()
    keep_alive.review()
    world.units.stopping.set()
    await keep_alive.settle()
    assert {uid for job, uid in world.units.jobs if job == "stop"} == {1000, 1001}
    keep_alive.close()
