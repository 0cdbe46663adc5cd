# SPDX-License-Identifier: Apache-2.0
"""Jobs in the windows of tmux(1) and its like, which may be scopes of their own."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from daemon.missions.test_scanner import NAMED, SESSION, World, world
from missiond.common.time_slice import at_once
from missiond.core.missions.missions import Sighting
from missiond.host.cgroups import tree
from missiond.host.cgroups.tree import Unit

__all__ = ["world"]

SCOPE = "user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope"


async def test_a_scope_that_becomes_a_multiplexers(world: World) -> None:
    """Only jobs are missions from then on, also of what it leaves behind."""
    job = world.start("sleep", "60")
    scope = world.group(SCOPE, job)
    world.discovery.populated(scope, frozen=False)
    [unit] = world.sink.there
    assert unit.startswith("unit/")
    server = world.start("python3", "-c", NAMED, b"tmux: server".hex())
    world.line()
    world.group(SCOPE, server)
    world.discovery.look_again()
    assert world.sink.there == {}
    world.group(SCOPE, server, job)
    world.discovery.look_again()
    [(key, seen)] = world.sink.there.items()
    assert (key.partition("/")[0], seen.leader.pid) == ("job", job)
    assert [stat.pid for stat in at_once(world.discovery.members(seen))[0]] == [job]
    world.group(SCOPE, job)
    world.discovery.look_again()
    assert list(world.sink.there) == [key]
    world.discovery.ended(scope)
    assert world.sink.there == {}


async def test_a_services_own_multiplexer_is_that_service(world: World) -> None:
    server = world.start("python3", "-c", NAMED, b"tmux: server".hex())
    world.line()
    path = "system.slice/irc.service"
    directory = world.mount / path
    world.group(path, server)
    world.discovery.populated(Unit(path, "irc.service", None, directory.stat().st_ino), frozen=False)
    assert [key.partition("/")[0] for key in world.sink.there] == ["unit"]


WINDOW = "user.slice/user-1000.slice/user@1000.service/tmux-spawn-1.scope"


class Split:
    """A job whose first process is in a window's scope, and the second in the session where it began."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._world = world
        self.first = world.start("sh", "-c", "sleep 60 & echo $!; wait")
        self.second = int(world.line())
        where = {self.first: WINDOW, self.second: SESSION}
        monkeypatch.setattr(tree, "of_process", lambda pid: where.get(pid, ""))
        self.window = world.group(WINDOW, self.first)
        self.session = world.group(SESSION, self.second)

    def begin(self) -> Sighting:
        """Both in the session, and then the first one is moved."""
        self._world.group(SESSION, self.first, self.second)
        self._world.discovery.populated(self.session, frozen=False)
        [seen] = self._world.sink.there.values()
        self._world.group(SESSION, self.second)
        return seen


@pytest.fixture
def split(world: World, monkeypatch: pytest.MonkeyPatch) -> Split:
    return Split(world, monkeypatch)


async def test_a_job_of_which_a_part_was_moved_is_one(world: World, split: Split) -> None:
    split.begin()
    world.discovery.populated(split.window, frozen=False)
    world.discovery.look_again()
    [seen] = world.sink.there.values()
    assert (seen.unit, seen.leader.pid) == ("tmux-spawn-1.scope", split.first)
    assert {stat.pid for stat in at_once(world.discovery.members(seen))[0]} == {split.first, split.second}


async def test_it_is_found_where_it_is_before_it_is_lost_where_it_was(
    world: World, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = split.begin()
    world.group(WINDOW)
    world.discovery.populated(split.window, frozen=False)
    world.group(WINDOW, split.first)
    there_when_lost: list[str] = []

    def lost(key: str) -> None:
        there_when_lost.extend(world.sink.there)
        world.sink.there.pop(key, None)

    monkeypatch.setattr(world.sink, "lost", lost)
    world.discovery.look_again()
    [seen] = world.sink.there.values()
    assert set(there_when_lost) == {before.key, seen.key}
    assert seen.leader == before.leader


async def test_it_stays_what_it_is_until_its_new_place_is_known(world: World, split: Split) -> None:
    before = split.begin()
    for left in ([split.second], []):  # with and without something that stays behind
        world.group(SESSION, *left)
        world.discovery.look_again()
        assert world.sink.there == {before.key: before}
    world.discovery.populated(split.window, frozen=False)
    world.discovery.look_again()
    [seen] = world.sink.there.values()
    assert seen.unit == "tmux-spawn-1.scope"
    assert world.sink.gone == [before.key]


async def test_what_outlives_the_part_that_was_moved_is_found(
    world: World, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    split.begin()
    world.discovery.populated(split.window, frozen=False)
    world.discovery.look_again()
    [seen] = world.sink.there.values()
    os.kill(split.first, signal.SIGKILL)
    world.processes[-1].wait()
    world.discovery.ended(split.window)
    assert world.sink.gone[-1] == seen.key
    told: asyncio.Queue[Sighting] = asyncio.Queue()
    monkeypatch.setattr(world.sink, "found", told.put_nowait)
    left = await asyncio.wait_for(told.get(), 5)
    assert (left.unit, left.leader.pid) == ("session-3.scope", split.second)
