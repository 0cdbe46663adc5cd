# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from missiond.core.keepalive.service_restart import RestartedService
from missiond.host.systemd import unit_changes
from missiond.host.systemd.unit_changes import AT_ONCE, Following, UnitChanges

A, B, OTHER = (
    RestartedService(1000, "a.service", "x"),
    RestartedService(1000, "b.service", "y"),
    RestartedService(None, "a.service", "z"),
)


class Watches:
    """A stand-in for missiond-units: connections by their first message."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.setblocking(False)
        self.connections: list[socket.socket] = []

    async def next(self) -> tuple[socket.socket, str]:
        """The next connection, and what it asks for."""
        connection, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self._socket), 10)
        connection.setblocking(False)
        self.connections.append(connection)
        return connection, await read(connection)

    async def ended(self) -> None:
        """Wait until nobody listens any more."""
        for connection in self.connections:
            while connection.fileno() >= 0 and await read(connection):
                pass

    def close(self) -> None:
        for each in (self._socket, *self.connections):
            each.close()


async def read(connection: socket.socket) -> str:
    """The next message; empty at the end."""
    data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 4096), 10)
    return data.decode()


async def heard(following: Following) -> Following:
    """Wait for the next word."""
    event = asyncio.Event()
    following.on_change(event.set)
    await asyncio.wait_for(event.wait(), 10)
    return following


@pytest.fixture
async def watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watches]:
    monkeypatch.setattr(unit_changes, "FIRST_PAUSE", 0.01)
    served = Watches(tmp_path / "socket")
    yield served
    await served.ended()
    served.close()


async def test_changes_are_told(watches: Watches, tmp_path: Path) -> None:
    following = UnitChanges(tmp_path / "socket").follow(A)
    connection, asked = await watches.next()
    assert asked == "watch 1000 a.service"
    assert not following.on
    connection.send(b"a.service\n\n")
    await heard(following)
    assert (following.on, following.result, following.removed) == (True, "", False)
    connection.send(b"b.service\n\n")  # nobody asked
    connection.send(b"a.service\n\x1b[31m\n")
    connection.send(b"a.service\nexit-code\nremoved")
    await heard(following)
    assert (following.on, following.result, following.removed) == (True, "exit-code", True)
    following.close()
    following.close()
    assert await read(connection) == ""


async def test_one_connection_for_a_manager(watches: Watches, tmp_path: Path) -> None:
    changes = UnitChanges(tmp_path / "socket")
    first, second = changes.follow(A), changes.follow(B)
    connection, asked = await watches.next()
    assert (asked, await read(connection)) == ("watch 1000 a.service", "b.service")
    connection.send(b"b.service\n\n")
    await heard(second)
    again = changes.follow(B)
    await heard(again)
    assert again.on
    first.close()
    third = changes.follow(OTHER)
    other, asked = await watches.next()
    assert asked == "watch system a.service"
    third.close()
    assert await read(other) == ""
    connection.send(b"b.service\nsignal\n")
    await heard(second)
    assert (second.result, again.result, first.on) == ("signal", "signal", False)
    second.close()
    again.close()
    assert await read(connection) == ""


async def test_the_end_is_told_and_it_is_tried_again(watches: Watches, tmp_path: Path) -> None:
    following = UnitChanges(tmp_path / "socket").follow(A)
    connection, _ = await watches.next()
    connection.send(b"a.service\nexit-code\n")
    await heard(following)
    connection.close()
    await heard(following)
    assert (following.on, following.result) == (False, "exit-code")
    connection, asked = await watches.next()
    assert asked == "watch 1000 a.service"
    connection.send(b"no ECONNREFUSED")
    connection.close()
    connection, _ = await watches.next()
    assert not following.on
    connection.send(b"a.service\n\n")
    await heard(following)
    assert (following.on, following.result) == (True, "")
    following.close()


async def test_nobody_there_and_then_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_changes, "FIRST_PAUSE", 0.01)
    following = UnitChanges(tmp_path / "socket").follow(A)
    for _ in range(3):
        await asyncio.sleep(0)
    watches = Watches(tmp_path / "socket")
    connection, _ = await watches.next()
    connection.send(b"a.service\n\n")
    await heard(following)
    following.close()
    await watches.ended()
    watches.close()


async def test_some_managers_at_a_time(watches: Watches, tmp_path: Path) -> None:
    changes = UnitChanges(tmp_path / "socket")
    all_of_them = [
        changes.follow(RestartedService(1000 + number, "a.service", "x")) for number in range(AT_ONCE + 1)
    ]
    for _ in range(AT_ONCE):
        await watches.next()
    late = asyncio.ensure_future(watches.next())
    await asyncio.sleep(0)
    assert not late.done()
    all_of_them[0].close()
    assert (await late)[1] == f"watch {1000 + AT_ONCE} a.service"
    for following in all_of_them[1:]:
        following.close()
