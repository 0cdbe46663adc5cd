# SPDX-License-Identifier: Apache-2.0
"""File descriptors: none leaks, none is inherited."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from missiond.bus.connection import CallTimeout, Connection
from standins.raw_client import raw_client
from standins.sample_service import NAME, PATH, SAMPLE, running_service

PEER = "org.freedesktop.DBus.Peer"


def open_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("member", ["Ping", "NoSuchMethod"])
async def test_calls_with_descriptors_leak_none(system_bus: str, member: str) -> None:
    async with running_service(system_bus, fds=True) as service, raw_client(system_bus, fds=True) as raw:
        spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
        before = open_count()
        for _ in range(20):
            for count, name in ((8, member), (1, "Unknown")):
                frame = raw.frame(PATH, PEER, name, "h" * count, list(range(count)), fd_count=count)
                await raw.send(frame, spare[:count])
                await raw.answers(1)
        assert open_count() == before
        assert service.connection.connected
        for fd in spare:
            os.close(fd)


async def test_signal_with_descriptors_leaks_none(system_bus: str) -> None:
    async with running_service(system_bus, fds=True) as service, raw_client(system_bus, fds=True) as raw:
        before = open_count()
        fd = os.open("/dev/null", os.O_RDONLY)
        frame = raw.frame(
            PATH, SAMPLE, "Happened", "h", [0], kind=4, destination=service.connection.unique_name, fd_count=1
        )
        for _ in range(5):
            await raw.send(frame, [fd])
        os.close(fd)
        await raw.ask(raw.frame(PATH, SAMPLE, "Echo", "s", ["x"]))
        assert open_count() == before


async def test_exported_connection_takes_no_descriptors(system_bus: str) -> None:
    async with running_service(system_bus) as service, raw_client(system_bus, fds=True) as raw:
        fd = os.open("/dev/null", os.O_RDONLY)
        await raw.send(raw.frame(PATH, PEER, "Ping", "h", [0], fd_count=1), [fd])
        os.close(fd)
        [answer] = await raw.answers(1)
        assert answer.error_name == "org.freedesktop.DBus.Error.NotSupported"
        assert service.connection.connected


async def test_received_descriptor_is_not_inheritable(system_bus: str, client: Connection) -> None:
    async with running_service(system_bus, fds=True) as service:
        read_end, write_end = os.pipe()
        service.sample.fd = write_end
        body, fds = await client.call_fds(NAME, PATH, SAMPLE, "Open")
        os.close(write_end)
        assert (body, len(fds)) == ([0], 1)
        assert not os.get_inheritable(fds[0])
        assert os.write(fds[0], b"!") == 1
        os.close(fds[0])
        assert os.read(read_end, 10) == b"!"
        # every copy is closed: the reader sees the end
        assert os.read(read_end, 10) == b""
        os.close(read_end)


async def test_reply_with_descriptors_that_nobody_takes(system_bus: str, client: Connection) -> None:
    async with running_service(system_bus, fds=True) as service:
        service.sample.fd = os.open("/dev/null", os.O_RDONLY)
        before = open_count()
        for _ in range(5):
            assert await client.call(NAME, PATH, SAMPLE, "Open") == [0]
        with pytest.raises(CallTimeout):
            await client.call_fds(NAME, PATH, SAMPLE, "Open", timeout=0)
        await client.call(NAME, PATH, SAMPLE, "Echo", "s", ["the late reply has come"])
        assert open_count() == before
        os.close(service.sample.fd)


async def test_descriptors_as_arguments(system_bus: str, tmp_path: Path) -> None:
    async with running_service(system_bus, fds=True) as service:
        client = await Connection.open(system_bus, fds=True)
        (tmp_path / "three").write_bytes(b"abc")
        (tmp_path / "four").write_bytes(b"abcd")
        files = [os.open(tmp_path / name, os.O_RDONLY) for name in ("three", "four")]
        before = open_count()
        body, _ = await client.call_fds(NAME, PATH, SAMPLE, "Weigh", "hsh", (1, "x", 1), fds=files)
        assert body == [8]
        body, _ = await client.call_fds(NAME, PATH, SAMPLE, "Weigh", "hsh", (1, "x", 0), fds=files)
        assert body == [7]
        waiting = [
            asyncio.ensure_future(client.call_fds(NAME, PATH, SAMPLE, "WeighLater", "h", (0,), fds=files[1:]))
            for _ in range(3)
        ]
        while service.sample.holding < 3:
            await asyncio.sleep(0)
        assert open_count() == before + 3
        service.sample.release.set()
        assert [(await each)[0] for each in waiting] == [[4]] * 3
        assert open_count() == before
        for fd in files:
            os.close(fd)
        await client.close()


async def test_a_descriptor_that_is_not_there(system_bus: str) -> None:
    async with running_service(system_bus, fds=True) as service, raw_client(system_bus, fds=True) as raw:
        before = open_count()
        fd = os.open("/dev/null", os.O_RDONLY)
        for index, count in ((1, 1), (2**32 - 1, 1), (0, 0)):
            frame = raw.frame(PATH, SAMPLE, "WeighLater", "h", [index], fd_count=count)
            await raw.send(frame, [fd] * count)
            [answer] = await raw.answers(1)
            assert answer.error_name == "org.missiond.Agent1.Error.InvalidParameter"
        os.close(fd)
        assert open_count() == before
        assert service.connection.connected
