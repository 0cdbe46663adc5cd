# SPDX-License-Identifier: Apache-2.0
"""A service that comes, goes, fails and hangs is read and heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from missiond.bus.connection import Connection
from missiond.bus.service_follower import ServiceFollower
from standins.programs.sample_service import NAME, PATH, SAMPLE, Service, running_service


class Reader:
    """Notes what it is told, in order."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.notes: list[str] = []
        self.noted = asyncio.Event()
        self.reading = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.trouble: Exception | None = None

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.noted.set()

    async def until(self, text: str) -> None:
        while text not in self.notes:
            self.noted.clear()
            await self.noted.wait()

    async def read(self) -> None:
        self.reading.set()
        await self.may_read.wait()
        if self.trouble is not None:
            raise self.trouble
        await self.connection.call(NAME, PATH, SAMPLE, "Echo", "s", ["read"])

    def told(self) -> None:
        self.note("told")

    def failed(self, error: Exception) -> None:
        self.note(f"failed: {error}")

    def left(self, *, was_ready: bool, owner: str) -> None:
        self.note(f"left {was_ready} {bool(owner)}")

    def happened(self, number: int, _text: str) -> None:
        self.note(f"happened {number}")


def emit(service: Service, client: Connection, number: int) -> None:
    service.server.emit(PATH, SAMPLE, "Happened", number, "", destination=client.unique_name)


@pytest.fixture
def reader(client: Connection) -> Reader:
    return Reader(client)


@pytest.fixture
async def follower(client: Connection, reader: Reader) -> AsyncIterator[ServiceFollower]:
    following = ServiceFollower(
        client, NAME, PATH, SAMPLE, reader, {"Happened": reader.happened}, pauses=(0.01, 0.02)
    )
    yield following
    following.close()


async def test_it_comes_goes_and_comes_back(
    system_bus: str, follower: ServiceFollower, reader: Reader, client: Connection
) -> None:
    await follower.start()
    assert not follower.owner
    assert not await follower.until_ready(1.0)
    async with running_service(system_bus) as service:
        await reader.until("told")
        assert follower.owner == service.connection.unique_name
        assert await follower.until_ready(1.0)
        emit(service, client, 1)
        await reader.until("happened 1")
    await reader.until("left True False")
    assert not follower.ready
    reader.notes.clear()
    async with running_service(system_bus):
        await reader.until("told")
    assert reader.notes[:2] == ["left False True", "told"]


async def test_one_that_is_there_is_read_at_once(
    service: Service, follower: ServiceFollower, reader: Reader
) -> None:
    await follower.start()
    assert await follower.until_ready(10.0)
    assert reader.notes == ["left False True", "told"]


async def test_early_signals_follow_the_reading(
    service: Service, follower: ServiceFollower, reader: Reader, client: Connection
) -> None:
    reader.may_read.clear()
    await follower.start()
    await reader.reading.wait()
    emit(service, client, 1)
    emit(service, client, 2)
    await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["behind them"])
    assert reader.notes == ["left False True"]
    reader.may_read.set()
    await reader.until("happened 2")
    assert reader.notes[1:] == ["told", "happened 1", "happened 2"]


async def test_signals_of_others_are_not_its_own(
    service: Service, follower: ServiceFollower, reader: Reader, client: Connection, system_bus: str
) -> None:
    await follower.start()
    await reader.until("told")
    other = await Connection.open(system_bus)
    other.emit(PATH, SAMPLE, "Happened", "us", (7, ""), destination=client.unique_name)
    await other.close()
    emit(service, client, 1)
    await reader.until("happened 1")
    assert "happened 7" not in reader.notes


async def test_one_that_fails_is_read_again(
    service: Service, follower: ServiceFollower, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    reader.trouble = ValueError("no")
    await follower.start()
    await reader.until("failed: no")
    assert "following" in caplog.text
    assert not await follower.until_ready(0.0)
    reader.trouble = None
    await reader.until("told")
    assert follower.pauses.fresh


async def test_one_that_hangs_is_not_waited_for(
    service: Service, follower: ServiceFollower, reader: Reader
) -> None:
    reader.may_read.clear()
    await follower.start()
    assert not await follower.until_ready(0.01)
    assert follower.owner
    follower.close()
    reader.may_read.set()
    await asyncio.sleep(0)
    assert "told" not in reader.notes
