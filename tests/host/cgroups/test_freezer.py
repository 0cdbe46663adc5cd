# SPDX-License-Identifier: Apache-2.0
"""The watch of cgroups that are frozen and emptied, on a tree of plain files."""

from __future__ import annotations

import asyncio
import select
from pathlib import Path

import pytest

from missiond.host.cgroups import freezer
from missiond.host.cgroups.freezer import FreezeWatch


async def test_after_a_look_it_rests_however_much_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/cgroup.events").write_text("populated 1\nfrozen 1\n")
    monkeypatch.setattr(freezer, "LEAST_REST", 0.05)
    frozen: list[str] = []
    watch = FreezeWatch(frozen.append, lambda _: None, tmp_path)
    watch.watch("a")
    assert frozen == ["a"]
    (fd,) = watch._paths
    looks = 0

    class Always:
        """An epoll that is readable all the time, as one is of cgroups that change in a loop."""

        def __init__(self, real: select.epoll) -> None:
            self._real = real

        def fileno(self) -> int:
            return self._real.fileno()

        def poll(self, _: float) -> list[tuple[int, int]]:
            nonlocal looks
            looks += 1
            return [(fd, select.EPOLLPRI)]

        def unregister(self, fd: int) -> None:
            raise FileNotFoundError

        def close(self) -> None:
            self._real.close()

    watch._epoll = Always(watch._epoll)  # type: ignore[assignment]
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while len(frozen) < 5:
        watch._ready() if watch._resting is None else await asyncio.sleep(0)
    assert looks == 4
    assert loop.time() - begun >= 3 * 0.05
    watch.unwatch("a")
    watch.close()
