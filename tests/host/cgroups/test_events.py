# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.host import inotify
from missiond.host.cgroups.events import CgroupEvents

LONG = 10.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    directory = tmp_path / "app.slice/a.service"
    directory.mkdir(parents=True)
    (directory / "cgroup.events").write_text("populated 1\n")
    return directory


@pytest.fixture
async def events(tmp_path: Path, unit: Path) -> AsyncIterator[CgroupEvents]:
    made = CgroupEvents("app.slice/a.service", tmp_path)
    yield made
    made.close()


async def test_it_is_emptied_and_filled(events: CgroupEvents, unit: Path) -> None:
    (unit / "cgroup.events").write_text("populated 0\n")
    assert await events.wait(LONG)


async def test_nothing_happens(events: CgroupEvents, unit: Path) -> None:
    (unit.parent / "b.service").mkdir()
    assert not await events.wait(0.1)


async def test_it_goes_and_comes_back(events: CgroupEvents, unit: Path) -> None:
    (unit / "cgroup.events").unlink()
    unit.rmdir()
    assert await events.wait(LONG)
    while await events.wait(0.1):
        pass
    unit.mkdir()
    assert await events.wait(LONG)


async def test_without_inotify_time_passes(
    tmp_path: Path, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(_callback: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(inotify, "Inotify", exhausted)
    events = CgroupEvents("app.slice/a.service", tmp_path)
    assert not await events.wait(0.05)
    events.close()


async def test_a_slice_that_is_not_there(tmp_path: Path) -> None:
    events = CgroupEvents("none.slice/a.service", tmp_path)
    assert not await events.wait(0.05)
    events.close()
