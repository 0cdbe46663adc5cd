# SPDX-License-Identifier: Apache-2.0
"""Hand-overs over real links: messages, who may send them, and states that survive lost links."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from missiond.errors import AgentError, DistributedServiceFailed, InvalidParameter, PermissionDenied
from standins.agents.peer_units import HOLD, QUICK, Place, places, row, trust
from standins.open_files import open_files

T, OTHER = "1f" * 16, "2e" * 16
MIB = 1 << 20
BIG = 50 * MIB


async def meet(one: Place, other: Place, *there: str) -> None:
    """Connect; the first one may do `there` on the other."""
    trust(other, one, address=False, permissions=list(there))
    trust(one, other)
    await one.until_connected(other)
    await other.until_connected(one)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[list[Place]]:
    """Two hosts; the first may begin hand-overs with the second."""
    async with places(tmp_path, "alpha", "beta", timing=QUICK) as both:
        await meet(both[0], both[1], "sync", "continue")
        yield both


@pytest.fixture
def blob() -> Iterator[int]:
    """A memfd with 50 MiB that nothing compresses or repeats."""
    fd = os.memfd_create("state")
    block = hashlib.shake_128(b"state").digest(MIB)
    for number in range(BIG // MIB):
        os.write(fd, number.to_bytes(8, "big") + block[8:])
    yield fd
    os.close(fd)


def digest(fd: int) -> str:
    found = hashlib.sha256()
    offset = 0
    while data := os.pread(fd, MIB, offset):
        found.update(data)
        offset += len(data)
    return found.hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """An empty file, to append to."""
    fd = os.open(tmp_path / "state", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    yield fd
    os.close(fd)


async def test_a_message_arrives_and_is_answered(pair: list[Place]) -> None:
    one, other = pair
    await one.commands.send_handover(other.id, T, "offer", '{"mission": "é"}')
    assert other.heard.of("letter") == [(one.id, T, "offer", '{"mission": "é"}')]
    other.heard.answer = type("InProgress", (AgentError,), {"code": 16300506})("it is on its way already")
    with pytest.raises(AgentError, match="16300506: it is on its way already"):
        await one.commands.send_handover(other.id, T, "offer", "{}")


async def test_messages_come_one_after_the_other(pair: list[Place]) -> None:
    one, other = pair
    other.heard.answer = HOLD
    sent = [
        asyncio.ensure_future(one.commands.send_handover(other.id, T, f"step-{number}", "{}"))
        for number in range(10)
    ]
    for number in range(10):
        await other.heard.until(lambda: other.heard.replies)
        assert [each[2] for each in other.heard.of("letter")] == [f"step-{n}" for n in range(number + 1)]
        other.heard.replies.pop()(None)
        await sent[number]


@pytest.mark.parametrize(("step", "known"), [("offer", False), ("offer", True), ("pull", True), ("x", False)])
async def test_without_the_permission_nothing_begins(tmp_path: Path, step: str, known: bool) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other, "sync")
        trust(one, other, permissions=["sync", "continue"])
        if known:
            await other.commands.send_handover(one.id, T, "pull", "{}")
        with pytest.raises(PermissionDenied, match="the permission 'continue' on that host"):
            await one.commands.send_handover(other.id, T, step, "{}")
        assert other.heard.of("letter") == []
        complaint = (one.name, "hands missions over without the permission 'continue'")
        assert complaint in other.heard.of("complaint")
        assert other.device(one).connected


async def test_a_known_transfer_goes_on_without_the_permission(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        await meet(one, other, "sync", "continue")
        await one.commands.send_handover(other.id, T, "offer", "{}")
        other.commands.follow_handovers([(one.id, T)])
        other.commands.set_peer_permissions(one.id, ["sync"])
        await one.commands.send_handover(other.id, T, "commit", "{}")
        other.commands.forget_handover(T)
        with pytest.raises(PermissionDenied):
            await one.commands.send_handover(other.id, T, "commit", "{}")


async def test_all_is_said_again_to_a_peer_whose_agent_was_started_anew(pair: list[Place]) -> None:
    """Not more often than twice a second where it asks for that again and again."""
    one, other = pair
    one.heard.events.clear()
    began = one.unit.timers.clock.now()
    other.commands.follow_handovers([(one.id, T)])
    await one.heard.until_link(other.id, 1)
    for _ in range(100):
        other.commands.follow_handovers([(one.id, T)])
        await one.commands.send_handover(other.id, T, "step", "{}")
    await one.heard.until_link(other.id, 2)
    took = one.unit.timers.clock.now() - began
    assert len(one.heard.of("link up")) <= 2 + took // 500
    assert other.heard.of("link down") == []


async def test_an_older_peer_is_said_to_be_too_old(tmp_path: Path) -> None:
    async with places(tmp_path, "alpha", "beta") as [one, other]:
        other.options["features"] = ()
        await other.stop()
        other.start()
        await meet(one, other, "sync", "continue")
        with pytest.raises(DistributedServiceFailed, match="that peer's missiond is too old"):
            await one.commands.send_handover(other.id, T, "offer", "{}")
        assert one.heard.of("link up") == [(other.id, False)]
        assert one.device(other).connected


BAD = [
    (T, "Offer", "{}"),
    (T, "", "{}"),
    (T, "o" * 33, "{}"),
    (T[:-1], "offer", "{}"),
    (T.upper(), "offer", "{}"),
    (T, "offer", "[]"),
    (T, "offer", "{"),
    (T, "offer", '{"a": NaN}'),
    (T, "offer", "[" * 100_000),
    (T, "offer", '{"a": "' + "x" * 256 * 1024 + '"}'),
    (T, "offer", '{"a": "' + "é" * 128 * 1024 + '"}'),
]


async def test_bad_arguments(pair: list[Place]) -> None:
    one, other = pair
    for transfer, step, body in BAD:
        with pytest.raises(InvalidParameter):
            await one.commands.send_handover(other.id, transfer, step, body)
    longest = '{"a": "' + "é" * (128 * 1024 - 5) + '" }'
    assert len(longest.encode()) == 256 * 1024
    await one.commands.send_handover(other.id, T, "offer", longest)
    assert other.heard.of("letter")[-1][-1] == longest


async def test_a_big_state_survives_a_lost_link(pair: list[Place], blob: int, file: int) -> None:
    one, other = pair
    before = open_files()
    await other.commands.expect_state(one.id, T, file, 0, BIG)
    sending = asyncio.ensure_future(one.commands.send_state(other.id, T, blob, 0, BIG))
    await other.heard.until(lambda: os.fstat(file).st_size > 0)
    one.unit.links.cut_off(one.device(other), "a test")
    with pytest.raises(DistributedServiceFailed, match="has ended"):
        await sending
    kept = os.fstat(file).st_size
    assert 0 < kept < BIG
    for place, peer in ((one, other), (other, one)):
        await place.heard.until_link(peer.id, 2)
    one.heard.events.clear()
    await one.commands.send_state(other.id, T, blob, 0, BIG)
    await other.heard.until(lambda: other.heard.of("complete"))
    assert digest(file) == digest(blob)
    assert one.heard.of("sent")[0][1] >= kept
    assert one.heard.of("sent")[-1] == (T, BIG, BIG)
    assert other.heard.of("kept")[-1] == (T, BIG, BIG)
    # said again, it is done at once
    await one.commands.send_state(other.id, T, blob, 0, BIG)
    other.commands.forget_handover(T)
    assert len(open_files()) == len(before)


async def test_lists_and_messages_overtake_a_state(pair: list[Place], blob: int, file: int) -> None:
    one, other = pair
    other.commands.start_sync(one.id, False, 0)
    await other.until_lists(one, [])
    await other.commands.expect_state(one.id, T, file, 0, BIG)
    sending = asyncio.ensure_future(one.commands.send_state(other.id, T, blob, 0, BIG))
    await other.heard.until(lambda: other.heard.of("kept"))
    one.unit.publish([row(1)])
    await other.until_lists(one, [row(1)])
    await one.commands.send_handover(other.id, T, "step", "{}")
    assert not sending.done()
    assert os.fstat(file).st_size < BIG / 2
    await sending


async def test_states_that_nobody_waits_for(pair: list[Place], blob: int, file: int) -> None:
    one, other = pair
    with pytest.raises(DistributedServiceFailed, match="does not expect"):
        await one.commands.send_state(other.id, T, blob, 0, BIG)
    await other.commands.expect_state(one.id, T, file, 0, 5)
    with pytest.raises(DistributedServiceFailed, match="5 bytes, not of 52428800"):
        await one.commands.send_state(other.id, T, blob, 0, BIG)
    with pytest.raises(DistributedServiceFailed, match="0 bytes of the state"):
        await one.commands.send_state(other.id, T, blob, 3, 5)
    assert os.fstat(file).st_size == 0
    await one.commands.send_state(other.id, T, blob, 0, 5)
    assert os.pread(file, 10, 0) == os.pread(blob, 5, 0)


async def test_an_empty_state(pair: list[Place], blob: int, file: int) -> None:
    one, other = pair
    await other.commands.expect_state(one.id, T, file, 0, 0)
    assert other.heard.of("complete") == [(one.id, T)]
    await one.commands.send_state(other.id, T, blob, 0, 0)


async def test_forgotten_on_either_side(pair: list[Place], blob: int, file: int) -> None:
    one, other = pair
    before = open_files()
    for forgetful, text in ((one, "was forgotten"), (other, "was forgotten")):
        os.ftruncate(file, 0)
        await other.commands.expect_state(one.id, T, file, 0, BIG)
        sending = asyncio.ensure_future(one.commands.send_state(other.id, T, blob, 0, BIG))
        await other.heard.until(lambda: os.fstat(file).st_size > 0)
        forgetful.commands.forget_handover(T)
        with pytest.raises(DistributedServiceFailed, match=text):
            await sending
        other.commands.forget_handover(T)
        await one.commands.send_handover(other.id, T, "again", "{}")
    while len(open_files()) > len(before):  # what a thread was busy with ends
        await asyncio.sleep(0)


async def test_a_full_disk(pair: list[Place], blob: int, monkeypatch: pytest.MonkeyPatch, file: int) -> None:
    one, other = pair
    real = os.pwritev

    def full(fd: int, views: list[memoryview], offset: int) -> int:
        if offset >= MIB:
            raise OSError(28, "No space left on device")
        return real(fd, views, offset)

    await other.commands.expect_state(one.id, T, file, 0, BIG)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", full)
        with pytest.raises(AgentError, match="9800004: the state can't be kept: No space left"):
            await one.commands.send_state(other.id, T, blob, 0, BIG)
    assert other.heard.of("failed") == [(T, "the state can't be kept: No space left on device")]
    await one.commands.send_state(other.id, T, blob, 0, BIG)
    assert digest(file) == digest(blob)


async def test_descriptors_that_are_no_files(pair: list[Place], tmp_path: Path) -> None:
    one, other = pair
    before = open_files()
    reading, writing = os.pipe()
    plain = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    os.write(plain, b"12345")
    with pytest.raises(InvalidParameter, match="files or memfds"):
        await one.commands.send_state(other.id, T, reading, 0, 1)
    with pytest.raises(InvalidParameter, match="open for reading"):
        await one.commands.send_state(other.id, T, plain, 0, 1)
    with pytest.raises(InvalidParameter, match="files or memfds"):
        await one.commands.expect_state(other.id, T, writing, 0, 1)
    with pytest.raises(InvalidParameter, match="has 5 bytes, and offset is 0"):
        await one.commands.expect_state(other.id, T, plain, 0, 10)
    with pytest.raises(InvalidParameter, match="from 0 to size"):
        await one.commands.expect_state(other.id, T, plain, 5, 4)
    for fd in (reading, writing, plain):
        os.close(fd)
    assert open_files() == before


async def test_unpaired_in_the_middle(pair: list[Place], blob: int, file: int) -> None:
    one, other = pair
    await other.commands.expect_state(one.id, T, file, 0, BIG)
    sending = asyncio.ensure_future(one.commands.send_state(other.id, T, blob, 0, BIG))
    await other.heard.until(lambda: os.fstat(file).st_size > 0)
    other.commands.unpair(one.id)
    with pytest.raises(DistributedServiceFailed):
        await sending


async def test_both_ways_at_once(pair: list[Place], blob: int, tmp_path: Path) -> None:
    one, other = pair
    size = 5 * MIB
    files = [os.open(tmp_path / str(n), os.O_RDWR | os.O_CREAT) for n in range(4)]
    work = []
    for number, fd in enumerate(files):
        here, there = (one, other) if number % 2 else (other, one)
        transfer = f"{number:032x}"
        await there.commands.expect_state(here.id, transfer, fd, 0, size)
        work.append(here.commands.send_state(there.id, transfer, blob, 0, size))
    await asyncio.gather(*work)
    for fd in files:
        assert os.pread(fd, size, 0) == os.pread(blob, size, 0)
        os.close(fd)
