# SPDX-License-Identifier: Apache-2.0
"""Missions of a whole agent: sleep, restarts, and who hears what."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import missiond
from missiond.host.cgroups import tree as cgroup_tree
from missiond.host.cgroups.watch import CgroupWatch
from standins.worlds.scene import Scene

APPS = "user.slice/user-1000.slice/user@1000.service/app.slice"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups of a host, without any of its own."""
    root = tmp_path / "cgroup"
    (root / APPS).mkdir(parents=True)
    (root / "cgroup.controllers").touch()
    monkeypatch.setattr(cgroup_tree, "_MOUNTS", (root,))
    return root


@pytest.fixture
def sleeping() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def fill(tree: Path, name: str, pid: int) -> None:
    unit = tree / APPS / name
    unit.mkdir()
    (unit / "cgroup.procs").write_text(f"{pid}\n")
    (unit / "cgroup.events").write_text("populated 1\nfrozen 0\n")


async def test_what_began_while_the_host_slept(
    scene: Scene, tree: Path, sleeping: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as if none of the events came
    monkeypatch.setattr(CgroupWatch, "_event", lambda *_: None)
    await scene.start()
    scene.logind.prepare_for_sleep(True)
    fill(tree, "app-x-1.scope", sleeping)
    async with missiond.connect() as client, client.missions.changes() as changes:
        assert await client.missions() == []
        scene.logind.prepare_for_sleep(False)
        await anext(changes)
        assert [mission.application for mission in await client.missions()] == ["x"]


async def test_listeners_outlive_a_restart(scene: Scene, tree: Path, sleeping: int) -> None:
    await scene.start()
    async with missiond.connect() as stays, stays.missions.changes() as changes:
        async with missiond.connect() as leaves, leaves.missions.changes():
            pass
        assert scene.files("listener") == ["1"]
        await scene.stop()
        fill(tree, "app-x-1.scope", sleeping)
        await scene.start()
        await anext(changes)
        assert [mission.pid for mission in await stays.missions()] == [sleeping]
        (tree / APPS / "app-x-1.scope" / "cgroup.events").write_text("populated 1\nfrozen 1\n")
        await anext(changes)
    async with asyncio.timeout(5):
        while scene.files("listener"):
            await asyncio.sleep(0.001)


async def test_a_record_of_listeners_that_is_none(scene: Scene, tree: Path) -> None:
    (scene.runtime / "listener").mkdir(parents=True)
    file = scene.runtime / "listener" / "1"
    contents = ("[", '{"version":1}', '{"version":1,"bus":"x","users":{":1":0}}', '{"version":1,"users":3}')
    for content in contents:
        file.write_text(content)
        await scene.start()
        assert await scene.stop() == 0
