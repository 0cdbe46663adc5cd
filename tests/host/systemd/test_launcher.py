# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from missiond.core.launch.description import LaunchDescription
from missiond.host.systemd.launcher import Launcher, PreparedLaunch, StartFailed
from missiond.host.systemd.unit_managers import ManagersMissing, NotAnswered

UNIT = f"app-missiond-x@{'ab' * 16}.service"
WHAT = LaunchDescription(("/bin/true",), app_id="x")
RUNS = b"ok\nMainPID=77\nActiveState=active\nJob=done\n"


class Units:
    """missiond-units as far as one connection goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(path))
        self._listening.listen()
        self._listening.setblocking(False)
        self.connection: socket.socket | None = None

    async def prepared(self, answer: bytes = b"ok\n") -> PreparedLaunch:
        asking = asyncio.ensure_future(Launcher(self.path).prepare(1000, UNIT, WHAT))
        self.connection, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        self.connection.setblocking(False)
        question = await self.heard()
        assert question == f"prepare 1000 {UNIT}".encode()
        self.connection.send(answer)
        return await asking

    async def heard(self) -> bytes:
        assert self.connection is not None
        return await asyncio.get_running_loop().sock_recv(self.connection, 4096)

    def close(self) -> None:
        self._listening.close()
        if self.connection is not None:
            self.connection.close()


@pytest.fixture
def units(tmp_path: Path) -> Iterator[Units]:
    made = Units(tmp_path / "socket")
    yield made
    made.close()


async def test_the_word_starts_it(units: Units) -> None:
    launch = await units.prepared()
    assert units.connection is not None
    going = asyncio.ensure_future(launch.go())
    assert await units.heard() == b"go"
    units.connection.send(RUNS)
    assert await going == 77
    assert await units.heard() == b"", "closed"
    assert await launch.go() is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"ok\nMainPID=0\nActiveState=failed\nJob=failed\n", StartFailed),
        (b"ok\n", NotAnswered),
        (b"no ETIMEDOUT", NotAnswered),
        (None, NotAnswered),
    ],
)
async def test_what_may_come_of_it(units: Units, answer: bytes | None, error: type[Exception]) -> None:
    launch = await units.prepared()
    assert units.connection is not None
    going = asyncio.ensure_future(launch.go())
    assert await units.heard() == b"go"
    if answer is None:
        units.connection.close()
    else:
        units.connection.send(answer)
    with pytest.raises(error):
        await going


async def test_it_ends_by_itself(units: Units) -> None:
    launch = await units.prepared()
    assert units.connection is not None
    over = asyncio.Event()
    launch.on_end(over.set)
    units.connection.close()
    await asyncio.wait_for(over.wait(), 20)
    assert await launch.go() is None
    late = asyncio.Event()
    launch.on_end(late.set)
    assert late.is_set()


async def test_it_is_gone_but_nobody_has_noticed(units: Units) -> None:
    launch = await units.prepared()
    assert units.connection is not None
    units.connection.close()
    assert await launch.go() is None


async def test_closed_it_hears_nothing_more(units: Units) -> None:
    launch = await units.prepared()
    launch.on_end(lambda: pytest.fail("it was closed"))
    launch.close()
    assert await units.heard() == b""
    assert await launch.go() is None


async def test_it_can_t_get_ready(units: Units, tmp_path: Path) -> None:
    with pytest.raises(NotAnswered, match="ENOSPC"):
        await units.prepared(b"no ENOSPC")
    with pytest.raises(ManagersMissing):
        await Launcher(tmp_path / "none").prepare(1000, UNIT, WHAT)
