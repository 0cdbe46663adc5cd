# SPDX-License-Identifier: Apache-2.0
"""The watch of control groups, on a directory that looks like them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.common.time_slice import SlicedQueue
from missiond.host.cgroups.tree import Unit, place_of, processes, shared_by, state
from missiond.host.cgroups.watch import CgroupWatch
from standins.clients.heard import Heard

MANAGER = "user.slice/user-1000.slice/user@1000.service"


class Listener:
    def __init__(self) -> None:
        self.heard: Heard[tuple[str, str]] = Heard()

    def populated(self, unit: Unit, frozen: bool) -> None:
        self.heard(("frozen" if frozen else "populated", unit.name))

    def ended(self, unit: Unit) -> None:
        self.heard(("ended", unit.name))


def fill(root: Path, path: str, *, populated: int = 1, frozen: int = 0, pids: str = "") -> Path:
    """Make a group, as the kernel shows one, whole from the first moment, or change it."""
    directory = root / path
    text = f"populated {populated}\nfrozen {frozen}\n"
    if directory.exists():
        (directory / "cgroup.events").write_text(text)
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    outside = root.with_name("new")
    outside.mkdir()
    (outside / "cgroup.events").write_text(text)
    (outside / "cgroup.procs").write_text(pids)
    # what is renamed into a directory is IN_MOVED_TO; the watch of the real thing knows IN_CREATE
    directory.mkdir()
    for file in list(outside.iterdir()):
        file.rename(directory / file.name)
    outside.rmdir()
    return directory


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cgroup" / MANAGER / "app.slice").mkdir(parents=True)
    return tmp_path / "cgroup"


@pytest.fixture
async def watch(root: Path, listener: Listener) -> AsyncIterator[CgroupWatch]:
    watch = CgroupWatch(
        root, lambda uid: uid == 1000, listener.populated, listener.ended, SlicedQueue(0.003, 0.006)
    )
    yield watch
    watch.close()


async def test_what_is_there_at_the_start(root: Path, watch: CgroupWatch, listener: Listener) -> None:
    fill(root, f"{MANAGER}/app.slice/app-a-1.scope")
    fill(root, f"{MANAGER}/init.scope")
    fill(root, "user.slice/user-1000.slice/session-3.scope")
    fill(root, "user.slice/user-1001.slice/session-4.scope")
    fill(root, "system.slice/cron.service")
    watch.start()
    assert {unit.name for unit in watch.units} == {"app-a-1.scope", "session-3.scope"}
    watch.rescan()
    assert len(listener.heard.words) == 2


async def test_units_freeze_end_and_go(root: Path, watch: CgroupWatch, listener: Listener) -> None:
    path = f"{MANAGER}/app.slice/app-a-1.scope"
    directory = fill(root, path)
    watch.start()
    await listener.heard.until(("populated", "app-a-1.scope"))
    fill(root, path, frozen=1)
    await listener.heard.until(("populated", "app-a-1.scope"), ("frozen", "app-a-1.scope"))
    listener.heard.words.clear()
    fill(root, path)
    await listener.heard.until(("populated", "app-a-1.scope"))
    shutil.rmtree(directory)
    await listener.heard.until(("populated", "app-a-1.scope"), ("ended", "app-a-1.scope"))
    assert watch.units == []


async def test_a_tree_that_appears_at_once(root: Path, watch: CgroupWatch, listener: Listener) -> None:
    watch.start()
    made = root.with_name("made")
    fill(made, "deep.slice/deeper.slice/app-b-2.scope")
    shutil.copytree(made / "deep.slice", root / MANAGER / "deep.slice")
    watch.rescan()
    await listener.heard.until(("populated", "app-b-2.scope"))


@pytest.mark.parametrize(
    ("path", "inner", "unit"),
    [
        ("", False, ""),
        ("system.slice/x.service", False, ""),
        ("user.slice", True, ""),
        ("user.slice/user-1000.slice", True, ""),
        ("user.slice/user-1000.slice/session-1.scope", False, "session-1.scope"),
        (MANAGER, True, ""),
        (f"{MANAGER}/app.slice", True, ""),
        (f"{MANAGER}/app.slice/app-a.slice/app-a-1.scope", False, "app-a-1.scope"),
        (f"{MANAGER}/app.slice/x.service/inner.scope", False, ""),
        (f"{MANAGER}/app.slice/x.service/payload", False, ""),
        (f"{MANAGER}/app.slice/_cpu.service", False, "cpu.service"),
        ("user.slice/user-99999999999.slice/x.scope", False, ""),
    ],
)
def test_places(path: str, inner: bool, unit: str) -> None:
    place = place_of(path)
    assert (place.inner, place.unit) == (inner, unit)


@pytest.mark.parametrize(
    ("name", "shared", "mission"),
    [
        ("app-x-1.scope", False, True),
        ("app-x@autostart.service", False, True),
        ("run-u7.service", False, True),
        ("init.scope", False, False),
        ("session-c1.scope", True, False),
        ("vte-spawn-0a.scope", True, False),
        ("tmux-spawn-0a.scope", True, False),
        ("dbus-:1.2-org.x@0.service", False, False),
    ],
)
def test_units(name: str, shared: bool, mission: bool) -> None:
    unit = Unit("p", name, 1000, 1)
    assert (unit.is_shared, unit.is_mission) == (shared, mission)


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        ("user.slice/user-1000.slice/session-3.scope", 1000),
        ("user.slice/user-1000.slice/missiond-keep@1000.service/task-7", 1000),
        ("user.slice/user-1001.slice/user@1001.service/app.slice/tmux-spawn-1.scope", 1001),
        ("user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope", None),
        ("user.slice/user-1000.slice/user@1000.service/init.scope", None),
        ("user.slice/user-1000.slice", None),
        ("system.slice/ssh.service", None),
        ("", None),
    ],
)
def test_whose_shared_place_it_is(path: str, uid: int | None) -> None:
    assert shared_by(path) == uid


def test_groups_that_are_gone_or_odd(tmp_path: Path) -> None:
    assert processes(tmp_path / "gone") == []
    with pytest.raises(OSError, match="No such"):
        state(tmp_path / "gone")
    fill(tmp_path / "c", "a", pids="0\n12\n")
    fill(tmp_path / "c", "a/b", pids="13\n")
    assert sorted(processes(tmp_path / "c" / "a")) == [12, 13]
