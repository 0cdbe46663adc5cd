# SPDX-License-Identifier: Apache-2.0
"""The kernel's process connector, where it answers; the rest with a socket that stands in for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from missiond.daemon.missions.assembly import _programs
from missiond.host.processes import connector as process_events
from missiond.host.processes.connector import ProcessEvents
from missiond.host.processes.exec_inotify import ExecWatch


@pytest.fixture
async def events() -> AsyncIterator[ProcessEvents]:
    try:
        listening = ProcessEvents(lambda: None)
    except OSError as error:
        pytest.skip(f"no process connector here: {error}")
    yield listening
    listening.close()


async def test_processes_that_start_are_heard(events: ProcessEvents) -> None:
    heard = asyncio.Event()
    events._callback = heard.set
    process = await asyncio.create_subprocess_exec("true")
    await heard.wait()
    await process.wait()
    events.close()


async def test_the_kernel_drops_what_is_neither_fork_nor_program(events: ProcessEvents) -> None:
    """Threads, exits and names that change are what there is most of."""
    asyncio.get_running_loop().remove_reader(events._socket)
    seen = []
    for _ in range(200):
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        await (await asyncio.create_subprocess_exec("true")).wait()
        with contextlib.suppress(OSError):
            while True:
                data = events._socket.recv(4096)
                (what,) = struct.unpack_from("=I", data, process_events._WHAT)
                if what != process_events._NONE:  # the kernel's answer to whoever else began to listen
                    seen.append((what, *struct.unpack_from("=II", data, process_events._CHILD_PID)))
    assert {what for what, *_ in seen} == {1, 2}
    assert all(pid == tgid for what, pid, tgid in seen if what == 1)


class Connector:
    """A pair of sockets with what the kernel would do on one end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
        self.kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        connector = self

        class Netlink:
            fileno = ours.fileno
            close = ours.close

            def setsockopt(self, *_: object) -> None: ...
            def bind(self, address: tuple[int, int]) -> None:
                assert address == (0, 1)

            def send(self, data: bytes) -> None:
                (operation,) = struct.unpack_from("=I", data, process_events._WHAT)
                if operation == 1 and code is not None:
                    (token,) = struct.unpack_from("=I", data, process_events._ACK)
                    connector.tell(2, 0, 77)  # others' events and answers come as well
                    connector.tell(0, token + 1, code)

            def recv(self, size: int) -> bytes:
                return ours.recv(size, socket.MSG_DONTWAIT)

        # theirs alone: event loops make sockets, too
        namespace = SimpleNamespace(**{**vars(socket), "socket": lambda *_: Netlink()})
        monkeypatch.setattr(process_events, "socket", namespace)

    def tell(self, what: int, ack: int, first: int) -> None:
        head = struct.pack("=IHHII", 76, 3, 0, 0, 0) + struct.pack("=IIIIHH", 1, 1, 0, ack, 40, 0)
        self.kernel.send(head + struct.pack("=IIQI", what, 0, 0, first).ljust(40, b"\0"))


async def test_a_storm_wakes_it_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = Connector(monkeypatch, 0)
    heard = []
    events = ProcessEvents(lambda: heard.append(1), rest=0.05)
    for _ in range(50):
        connector.tell(1, 0, 5)
        await asyncio.sleep(0)
    assert len(heard) <= 2
    heard.clear()
    await asyncio.sleep(0.2)
    assert len(heard) <= 1, "what came meanwhile is one event"
    connector.tell(2, 0, 5)
    while not heard:
        await asyncio.sleep(0.001)
    events.close()
    connector.kernel.close()


@pytest.mark.parametrize("code", [None, 1])
async def test_without_an_answer_the_linker_tells(monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    connector = Connector(monkeypatch, code)
    with pytest.raises(OSError, match=r"answer|permitted"):
        ProcessEvents(lambda: None)
    connector.kernel.close()
    monkeypatch.undo()
    connector = Connector(monkeypatch, code)
    programs = _programs(lambda: None)
    assert isinstance(programs, ExecWatch)
    programs.close()
    connector.kernel.close()
