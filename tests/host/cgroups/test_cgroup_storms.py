# SPDX-License-Identifier: Apache-2.0
"""The watch of control groups where there is too much, too deep, or elsewhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from missiond.common.time_slice import SlicedQueue
from missiond.host.cgroups import tree as cgroup_tree
from missiond.host.cgroups import watch as cgroup_watch
from missiond.host.cgroups.tree import Unit
from missiond.host.cgroups.watch import CgroupWatch

APPS = "user.slice/user-1000.slice/user@1000.service/app.slice"
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


class Table:
    """Keeps what is there by what it is told."""

    def __init__(self) -> None:
        self.there: set[str] = set()

    def populated(self, unit: Unit, frozen: bool) -> None:
        self.there.add(unit.name)

    def ended(self, unit: Unit) -> None:
        self.there.remove(unit.name)


def fill(slice_: Path, name: str) -> Path:
    """Make a unit in which something lives, whole from the moment in which it has its name."""
    new = slice_ / "new"
    new.mkdir()
    (new / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    return new.rename(slice_ / name)


def empty(directory: Path) -> None:
    (directory / "cgroup.events").unlink()
    directory.rmdir()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / APPS).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
async def watch(root: Path, table: Table) -> AsyncIterator[CgroupWatch]:
    made = CgroupWatch(root, lambda uid: uid == 1000, table.populated, table.ended, SlicedQueue(0.003, 0.006))
    yield made
    made.close()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_lost_events_make_it_look_once_at_everything(
    root: Path, watch: CgroupWatch, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.start()
    looks: list[None] = []
    rescan = watch.rescan
    monkeypatch.setattr(watch, "rescan", lambda: looks.append(rescan()))
    ending = fill(root / APPS, "app-ending-1.scope")
    other = fill(root / APPS, "app-other-1.scope")
    rescan()  # a rename tells nothing to the watch of a tree in which nothing is ever renamed
    # one file after the other, since equal events one after the other are one
    files = [(ending / "cgroup.events").open("r+b"), (other / "cgroup.events").open("r+b")]
    for number in range(int(QUEUE.read_text()) + 100):
        os.pwrite(files[number % 2].fileno(), b"p", 0)
    for file in files:
        file.close()
    # of these no event is left
    fill(root / APPS, "app-late-1.scope")
    empty(ending)
    assert table.there == {"app-ending-1.scope", "app-other-1.scope"}
    await until(lambda: table.there == {"app-late-1.scope", "app-other-1.scope"})
    (root / APPS / "again.slice").mkdir()
    await until(lambda: f"{APPS}/again.slice" in watch._slices)
    assert looks == [None]


async def test_a_tree_that_changes_faster_than_it_is_read(
    root: Path, watch: CgroupWatch, table: Table
) -> None:
    watch.start()

    def churn() -> set[str]:
        left: list[Path] = []
        for number in range(600):
            slice_ = root / APPS / f"app-{number % 7}.slice"
            slice_.mkdir(exist_ok=True)
            directory = slice_ / f"app-x-{number}.scope"
            directory.mkdir()
            (directory / "cgroup.events").write_text("populated 1\nfrozen 0\n")
            left.append(directory)
            if number % 3:
                empty(left.pop(number * 7919 % len(left)))
        return {directory.name for directory in left}

    names = await asyncio.to_thread(churn)
    # a control group has its files from the first moment; these have them a little later
    watch.rescan()
    await until(lambda: table.there == names)
    assert {unit.name for unit in watch.units} == names


async def test_paths_at_the_limit(root: Path, watch: CgroupWatch, table: Table) -> None:
    longest = os.pathconf(root, "PC_PATH_MAX") - 1
    here = root / APPS
    while len(str(here)) + 256 + 60 < longest:
        here /= "s" * 249 + ".slice"
    room = longest - len(str(here / "cgroup.events")) - 1
    here.mkdir(parents=True)
    fitting = "f" * (min(room, 255) - 6) + ".scope"
    fill(here, fitting)
    # what is longer can only be made, and seen, by those who go there step by step
    fd = os.open(here, os.O_DIRECTORY)
    os.mkdir("t" * 249 + ".slice", dir_fd=fd)
    inner = os.open("t" * 249 + ".slice", os.O_DIRECTORY, dir_fd=fd)
    os.mkdir("u" * 249 + ".scope", dir_fd=inner)
    watch.start()
    watch.rescan()
    assert table.there == {fitting}
    os.rmdir("u" * 249 + ".scope", dir_fd=inner)
    os.close(inner)
    os.rmdir("t" * 249 + ".slice", dir_fd=fd)
    os.close(fd)
    empty(here / fitting)
    await until(lambda: table.there == set())


async def test_beside_the_older_hierarchies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = (tmp_path / "cgroup", tmp_path / "cgroup" / "unified")
    monkeypatch.setattr(cgroup_tree, "_MOUNTS", mounts)
    mounts[1].mkdir(parents=True)
    assert cgroup_tree.mount() is None
    (mounts[1] / "cgroup.controllers").touch()
    assert cgroup_tree.mount() == mounts[1]
    (mounts[0] / "cgroup.controllers").touch()
    assert cgroup_tree.mount() == mounts[0]


async def test_services_of_the_host_that_are_named(root: Path, table: Table) -> None:
    slice_ = root / "system.slice"
    (slice_ / "system-web.slice").mkdir(parents=True)
    queue, services = SlicedQueue(0.003, 0.006), ("web@1.service", "cron.service")
    watch = CgroupWatch(root, lambda uid: True, table.populated, table.ended, queue, services=services)
    fill(slice_, "cron.service")
    fill(slice_, "ssh.service")
    watch.start()
    fill(slice_ / "system-web.slice", "web@1.service")
    (slice_ / "cron.service" / "inner.service").mkdir()
    watch.rescan()
    assert table.there == {"cron.service", "web@1.service"}
    assert {unit.uid for unit in watch.units} == {None}
    assert all(unit.is_mission and not unit.is_shared for unit in watch.units)
    watch.close()


class Steps:
    """How long each turn of the loop takes, and how much is looked at in one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.looks = 0
        state = cgroup_tree.state

        def looked(directory: Path) -> tuple[bool, bool]:
            self.looks += 1
            return state(directory)

        monkeypatch.setattr(cgroup_tree, "state", looked)

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            before = self.looks
            await asyncio.sleep(0)
            self.most = max(self.most, self.looks - before)


@pytest.mark.slow
async def test_thousands_of_units_are_looked_at_a_few_at_a_time(
    root: Path, watch: CgroupWatch, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that everybody's calls come in between."""
    monkeypatch.setattr(cgroup_watch, "AT_START", 0.0)
    monkeypatch.setattr(cgroup_watch, "AT_ONCE", 0.0)
    names = {f"app-{number}.scope" for number in range(2000)}
    for name in names:
        fill(root / APPS, name)
    steps = Steps(monkeypatch)
    looked: list[int] = []
    watch.start(lambda: looked.append(len(table.there)))
    assert watch.looking
    await steps.until(lambda: not watch.looking)
    assert looked == [2000]
    assert table.there == names
    assert steps.most < 500, "of 2000"
    watch.rescan()
    await steps.until(lambda: not watch.looking)
    assert looked == [2000]
    assert steps.most < 500


async def test_one_users_units_are_bounded_and_those_left_out_follow_when_there_is_room(
    root: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_watch, "MOST_OF_ONE", 20)
    watch = CgroupWatch(root, lambda uid: True, table.populated, table.ended, SlicedQueue(0.003, 0.006))
    mine = [fill(root / APPS, f"app-{number}.scope") for number in range(30)]
    others = root / "user.slice/user-1001.slice"
    others.mkdir()
    fill(others, "session-7.scope")
    watch.start()
    await until(lambda: not watch.looking)
    assert len(table.there) == 21
    assert "session-7.scope" in table.there
    followed = [directory for directory in mine if directory.name in table.there]
    for directory in followed[:10]:
        empty(directory)
    left = {directory.name for directory in mine} - {directory.name for directory in followed[:10]}
    await until(lambda: table.there == {"session-7.scope", *left})
    watch.close()


async def test_other_users_units_are_found_while_one_has_thousands(
    root: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_watch, "AT_START", 0.0)
    monkeypatch.setattr(cgroup_watch, "AT_ONCE", 0.0)
    watch = CgroupWatch(root, lambda uid: True, table.populated, table.ended, SlicedQueue(0.003, 0.006))
    for number in range(2000):
        fill(root / APPS, f"app-{number}.scope")
    others = root / "user.slice/user-1001.slice"
    others.mkdir()
    fill(others, "session-7.scope")
    watch.start()
    await until(lambda: "session-7.scope" in table.there)
    assert len(table.there) < 500
    watch.close()


async def test_one_users_slices_are_bounded_as_well(
    root: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup_watch, "MOST_OF_ONE", 20)
    watch = CgroupWatch(root, lambda uid: True, table.populated, table.ended, SlicedQueue(0.003, 0.006))
    mine = [root / APPS / f"s{number}.slice" for number in range(40)]
    for directory in mine:
        directory.mkdir()
    watch.start()
    await until(lambda: not watch.looking)
    assert len(watch._slices) < 30
    others = root / "user.slice/user-1001.slice"
    others.mkdir()
    fill(others, "session-7.scope")
    await until(lambda: table.there == {"session-7.scope"})
    for directory in mine:
        directory.rmdir()
    await until(lambda: len(watch._slices) < 10)
    fill(root / APPS, "app-1.scope")
    watch.rescan()
    await until(lambda: table.there == {"session-7.scope", "app-1.scope"})
    watch.close()
