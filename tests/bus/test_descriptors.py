# SPDX-License-Identifier: Apache-2.0
"""File descriptors: none leaks, none is inherited."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from missiond.bus.connection import CallTimeout, Connection
from missiond.bus.wire import message as wire
from missiond.bus.wire.transport import Transport
from missiond.common import blocking_io
from standins.clients.raw_client import raw_client
from standins.open_files import open_files
from standins.programs.sample_service import NAME, PATH, SAMPLE, running_service

PEER = "org.freedesktop.DBus.Peer"


def open_count() -> int:
    """Descriptors that are open; those that are being closed in a thread are not."""
    return len(open_files())


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


async def test_a_method_takes_a_descriptor(system_bus: str, client: Connection) -> None:
    async with running_service(system_bus, fds=True), raw_client(system_bus, fds=True) as raw:
        memory = os.memfd_create("x")
        os.write(memory, b"content")
        await raw.send(raw.frame(PATH, SAMPLE, "Take", "h", [0], fd_count=1), [memory])
        [answer] = await raw.answers(1)
        assert answer.body == ["content"]
        before = open_count()
        for body in ([1], [7]):
            await raw.send(raw.frame(PATH, SAMPLE, "Take", "h", body, fd_count=1), [memory])
            [answer] = await raw.answers(1)
            assert answer.error_name == "org.missiond.Agent1.Error.InvalidParameter"
        assert open_count() == before, "what is not taken is closed"
        os.close(memory)


async def test_descriptors_come_only_when_they_are_wanted(system_bus: str) -> None:
    wanted = False
    async with running_service(system_bus, fds=lambda: wanted), raw_client(system_bus, fds=True) as raw:
        before = open_count()
        for member, signature in (("Take", "h"), ("Echo", "s"), ("NoSuchMethod", "h")):
            spare = os.open("/dev/null", os.O_RDONLY)
            body = [0] if signature == "h" else ["x"]
            await raw.send(raw.frame(PATH, SAMPLE, member, signature, body, fd_count=1), [spare])
            os.close(spare)
            [answer] = await raw.answers(1)
            assert (answer.error_name is None) == (member == "Echo")
        assert open_count() == before
        wanted = True
        memory = os.memfd_create("x")
        os.write(memory, b"now")
        await raw.send(raw.frame(PATH, SAMPLE, "Take", "h", [0], fd_count=1), [memory])
        os.close(memory)
        [answer] = await raw.answers(1)
        assert answer.body == ["now"]


def test_what_may_hang_is_closed_in_a_thread(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mine, yours = socket.socketpair()
    pipe = os.pipe()
    yours.close()
    fds = [mine.detach(), *pipe, os.memfd_create("x"), os.open(tmp_path / "file", os.O_RDONLY)]
    assert [blocking_io._closes_at_once(fd) for fd in fds] == [True, True, True, True, _in_memory(tmp_path)]
    blocking_io.close_all(fds)
    for thread in list(blocking_io._under_way):
        thread.join(5)
    assert not blocking_io.busy()
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def _in_memory(place: Path) -> bool:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    kinds = {line.split()[1]: line.split()[2] for line in mounts}
    return next(kinds[str(p)] for p in [place, *place.parents] if str(p) in kinds) == "tmpfs"


async def test_a_result_that_comes_too_late_is_given_back() -> None:
    may_end, forgotten = threading.Event(), asyncio.Event()
    work = asyncio.ensure_future(blocking_io.aside(lambda: may_end.wait(10), lambda _: forgotten.set()))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work, 0.05)
    may_end.set()
    await asyncio.wait_for(forgotten.wait(), 5)
    with pytest.raises(ZeroDivisionError):
        await blocking_io.aside(lambda: 1 // 0, lambda _: None)


class _Reader:
    """A transport that reads when it is told to, and what came out of it."""

    def __init__(self) -> None:
        self.taken = False
        self.messages: list[wire.Incoming] = []
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.transport = Transport(
            ours, fds=lambda: self.taken, on_message=self.messages.append, on_lost=lambda _: None
        )

    def read(self, *, taken: bool) -> None:
        self.taken = taken
        self.transport._on_readable()

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        if fds:
            socket.send_fds(self.peer, [data], fds)
        else:
            self.peer.send(data)

    def close(self) -> None:
        for message in self.messages:
            message.close_fds()
        self.transport.end()
        self.peer.close()


def _call(member: str) -> bytes:
    return wire.build(wire.CALL, 1, path=PATH, interface=SAMPLE, member=member, fd_count=1)


def _files(message: wire.Incoming) -> list[str]:
    return [str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in message.fds]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (False, True, [[], ["two"]]),
        (True, False, [["one"], []]),
        (True, True, [["one"], ["two"]]),
        (False, False, [[], []]),
    ],
)
@pytest.mark.parametrize("cut", [8, 60])
@pytest.mark.parametrize("glued", [False, True])
async def test_no_message_gets_what_came_with_another(
    tmp_path: Path, glued: bool, cut: int, first: bool, second: bool, expected: list[list[str]]
) -> None:
    """Descriptors may begin or cease to be taken in the middle of a message."""
    files = []
    for name in ("one", "two"):
        (tmp_path / name).touch()
        files.append(os.open(tmp_path / name, os.O_RDONLY))
    before = open_count()
    reader = _Reader()
    reader.send(_call("First")[:cut], files[:1])
    reader.read(taken=first)
    reader.send(_call("First")[cut:])
    if not glued:
        reader.read(taken=second)
    reader.send(_call("Second"), files[1:])
    reader.read(taken=second)
    assert [[Path(target).name for target in _files(message)] for message in reader.messages] == expected
    reader.close()
    assert open_count() == before
    for fd in files:
        os.close(fd)
