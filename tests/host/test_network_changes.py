# SPDX-License-Identifier: Apache-2.0
"""News of links and addresses, from what the kernel sends and in which rhythm they are passed on."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from collections.abc import Iterator

import pytest

from missiond.host import network_changes
from missiond.host.network_changes import Interfaces, NetworkChanges

NEW_LINK, DELETED_LINK, NEW_ADDRESS, DELETED_ADDRESS = 16, 17, 20, 21
UP, RUNNING, LOWER_UP = 0x1, 0x40, 0x10000
TENTATIVE = 0x40


def message(kind: int, body: bytes) -> bytes:
    data = struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
    return data + bytes(-len(data) % 4)


def link(flags: int, index: int = 2, kind: int = NEW_LINK, family: int = 0) -> bytes:
    name = struct.pack("=HH", 4 + 6, 3) + b"host0\0" + bytes(2)
    return message(kind, struct.pack("=BxHiII", family, 1, index, flags, 0) + name)


def address(octet: int, flags: int = 0, kind: int = NEW_ADDRESS) -> bytes:
    value = struct.pack("=HH", 8, 1) + bytes([10, 0, 0, octet])
    return message(kind, struct.pack("=BBBBI", socket.AF_INET, 24, flags, 0, 2) + value)


def test_a_cable_is_pulled_out_and_plugged_in() -> None:
    known = Interfaces()
    assert known.take(link(UP | RUNNING | LOWER_UP))
    assert not known.take(link(UP | RUNNING | LOWER_UP)), "counters, say, are no news"
    assert not known.take(link(UP))
    assert not known.take(link(UP | RUNNING)), "no carrier"
    assert known.take(link(UP | RUNNING | LOWER_UP))
    assert not known.take(link(0, kind=DELETED_LINK))
    assert known.take(link(UP | RUNNING | LOWER_UP))
    assert not known.take(link(UP | RUNNING | LOWER_UP, 3, family=socket.AF_BRIDGE))


def test_an_address_counts_once_it_can_be_used() -> None:
    known = Interfaces()
    assert not known.take(address(1, TENTATIVE))
    assert known.take(address(1))
    assert not known.take(address(1)), "it was made to last longer"
    assert known.take(address(2))
    assert not known.take(address(1, kind=DELETED_ADDRESS))
    assert known.take(address(1))


def test_several_in_one_datagram() -> None:
    assert Interfaces().take(link(0) + address(1, TENTATIVE) + address(2))
    assert not Interfaces().take(link(0) + address(1, TENTATIVE))


@pytest.mark.parametrize("data", [b"", b"x", bytes(16), bytes(64), address(1)[:20], b"\xff" * 64])
def test_what_the_kernel_never_says(data: bytes) -> None:
    assert not Interfaces().take(data)


class Kernel:
    """In place of the netlink socket."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._theirs.setblocking(False)
        self.sender = 0

    def say(self, data: bytes) -> None:
        self._ours.send(data)

    def fileno(self) -> int:
        return self._theirs.fileno()

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        return self._theirs.recv(size), (self.sender, 1)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()
    monkeypatch.setattr(network_changes, "_open", lambda: made)
    yield made
    made.close()


async def test_a_burst_is_told_once_and_a_flood_less_and_less(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel
) -> None:
    monkeypatch.setattr(network_changes, "_SOON", 0.01)
    told: asyncio.Queue[float] = asyncio.Queue()
    changes = NetworkChanges(lambda: told.put_nowait(asyncio.get_running_loop().time()))
    times = []
    for turn in range(5):
        for octet in range(10):
            kernel.say(address(10 * turn + octet))
        times.append(await told.get())
    assert told.empty()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for number, pause in enumerate(pauses):
        assert pause >= 0.0195 * 2**number
    monkeypatch.setattr(network_changes, "_QUIET", 0)
    kernel.say(address(200))
    await told.get()
    assert changes._pauses.next() == 0.02
    changes.close()
    changes.close()


async def test_only_the_kernel_is_believed(kernel: Kernel) -> None:
    told: list[None] = []
    changes = NetworkChanges(lambda: told.append(None))
    kernel.sender = 4711
    kernel.say(address(1))
    changes._readable()
    assert not changes._pauses.waiting
    kernel.sender = 0
    kernel.say(address(1))
    changes._readable()
    assert changes._pauses.waiting
    changes.close()
    assert told == []


async def test_the_real_socket_can_be_had() -> None:
    NetworkChanges(lambda: None).close()
