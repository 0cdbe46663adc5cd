# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.host.systemd.service_manager import ServiceManager
from standins.open_files import open_files
from standins.services.notify_socket import NotifyReceiver, notify_receiver


@pytest.fixture(params=["path", "abstract"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifyReceiver]:
    address = tmp_path / "notify" if request.param == "path" else f"@missiond-test-{os.getpid()}"
    with notify_receiver(address) as made:
        yield made


@pytest.fixture
async def manager(receiver: NotifyReceiver) -> AsyncIterator[ServiceManager]:
    """Async, so that the loop's own files are open before the first look."""
    before = open_files()
    made = ServiceManager({"NOTIFY_SOCKET": receiver.address})
    yield made
    made.close()
    left = open_files()
    receiver.close()
    # what is left now is the receiver's; a number may meanwhile have become another file's
    mine = {(fd, file) for fd, file in left.items() if before.get(fd) != file}
    assert not mine & set(open_files().items())


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError:
                continue


def _is_open(read_end: int) -> bool:
    """Whether anybody still has the write end of a pipe."""
    os.set_blocking(read_end, False)
    try:
        return os.read(read_end, 1) != b""
    except BlockingIOError:
        return True


def _fill(manager: ServiceManager) -> int:
    """Send until the receiver's queue is full."""
    count = 0
    while not manager.waiting:
        manager.status(f"filler {count}")
        count += 1
        assert count < 5000
    return count - 1


def test_states(manager: ServiceManager, receiver: NotifyReceiver) -> None:
    assert manager.present
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.ready()
    manager.reloading()
    manager.stopping()
    manager.status("all is well")
    lines = [notification.lines for notification in receiver.drain()]
    usec = int(lines[1].pop().removeprefix("MONOTONIC_USEC="))
    assert before <= usec <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert lines == [["READY=1"], ["RELOADING=1"], ["STOPPING=1"], ["STATUS=all is well"]]


@given(st.text())
def test_status_stays_one_line(text: str) -> None:
    address = f"@missiond-test-{os.getpid()}-status"
    with notify_receiver(address) as receiver:
        manager = ServiceManager({"NOTIFY_SOCKET": address})
        manager.status(text)
        (notification,) = receiver.drain()
        manager.close()
        (line,) = notification.lines
        assert len(line) <= len("STATUS=") + 512
        assert line.startswith("STATUS=")


def test_store_passes_the_fd_at_once(manager: ServiceManager, receiver: NotifyReceiver) -> None:
    with _pipe() as (_, write):
        manager.store("transient-7-1", write)
        (notification,) = receiver.drain()
        assert notification.lines == ["FDSTORE=1", "FDNAME=transient-7-1", "FDPOLL=0"]
        (passed,) = notification.fds
        assert os.path.sameopenfile(passed, write)
        os.fstat(write)
    manager.unstore("transient-7-1")
    (notification,) = receiver.drain()
    assert notification.lines == ["FDSTOREREMOVE=1", "FDNAME=transient-7-1"]


@pytest.mark.parametrize("name", ["", "a:b", "new\nline", "ü", "x" * 256, "\0"])
def test_names_that_can_not_be_stored(manager: ServiceManager, receiver: NotifyReceiver, name: str) -> None:
    with _pipe() as (_, write), pytest.raises(ValueError, match="no name"):
        manager.store(name, write)
    manager.unstore(name)
    assert receiver.drain() == []


def test_closed_fd_is_refused(manager: ServiceManager, receiver: NotifyReceiver) -> None:
    with _pipe() as (_, write):
        os.close(write)
        with pytest.raises(OSError, match="Bad file descriptor"):
            manager.store("x", write)
    assert receiver.drain() == []


async def test_full_queue_neither_blocks_nor_loses_nor_reorders(
    manager: ServiceManager, receiver: NotifyReceiver
) -> None:
    sent = _fill(manager)
    with _pipe() as (read, write):
        manager.ready()
        manager.store("lock-1", write)
        manager.stopping()
        os.close(write)
        assert manager.waiting == 4
        assert _is_open(read)
        got = [await receiver.wait() for _ in range(sent + 4)]
        assert [notification.lines[0] for notification in got[-4:]] == [
            f"STATUS=filler {sent}",
            "READY=1",
            "FDSTORE=1",
            "STOPPING=1",
        ]
        assert [notification.lines for notification in got[:sent]] == [
            [f"STATUS=filler {n}"] for n in range(sent)
        ]
        assert manager.waiting == 0
        assert len(got[-2].fds) == 1
        receiver.close()
        assert not _is_open(read)


async def test_waiting_messages_are_merged(manager: ServiceManager, receiver: NotifyReceiver) -> None:
    sent = _fill(manager)
    for number in range(1000):
        manager.status(f"later {number}")
        manager.ready()
    assert manager.waiting == 2
    got = [await receiver.wait() for _ in range(sent + 2)]
    assert [notification.lines for notification in got[-2:]] == [["STATUS=later 999"], ["READY=1"]]


async def test_lock_that_never_reached_the_store_is_not_kept_by_the_queue(
    manager: ServiceManager, receiver: NotifyReceiver
) -> None:
    sent = _fill(manager)
    with _pipe() as (read, write):
        for generation in range(100):
            manager.store(f"lock-{generation}", write)
            manager.unstore(f"lock-{generation}")
        assert manager.waiting == 1
        os.close(write)
        assert not _is_open(read)
    for _ in range(sent + 1):
        await receiver.wait()
    assert manager.waiting == 0


async def test_stored_before_the_queue_filled_is_still_removed(
    manager: ServiceManager, receiver: NotifyReceiver
) -> None:
    with _pipe() as (_, write):
        manager.store("lock", write)
        sent = _fill(manager)
        manager.unstore("lock")
        manager.store("lock", write)
        manager.unstore("lock")
        got = [await receiver.wait() for _ in range(sent + 3)]
        assert got[0].lines[0] == "FDSTORE=1"
        assert got[-1].lines == ["FDSTOREREMOVE=1", "FDNAME=lock"]
        assert sum("FDSTORE=1" in notification.lines for notification in got) == 1
        assert manager.waiting == 0


async def test_vanished_manager_is_told_when_it_is_back(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    manager = ServiceManager({"NOTIFY_SOCKET": str(address)})
    with _pipe() as (_, write):
        manager.status("nobody hears")
        manager.store("lock", write)
        with notify_receiver(address) as receiver:
            assert (await receiver.wait()).lines == ["STATUS=nobody hears"]
            assert (await receiver.wait()).lines[1] == "FDNAME=lock"
            manager.status("one")
            assert (await receiver.wait()).lines == ["STATUS=one"]
        manager.status("two")
        assert manager.waiting == 1
        with notify_receiver(address) as receiver:
            assert (await receiver.wait()).lines == ["STATUS=two"]
        manager.close()


def test_without_a_loop_the_next_message_tries_again(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    manager = ServiceManager({"NOTIFY_SOCKET": str(address)})
    manager.status("early")
    with notify_receiver(address) as receiver:
        manager.ready()
        assert [notification.lines for notification in receiver.drain()] == [["STATUS=early"], ["READY=1"]]
    manager.close()


async def test_close_forgets_what_waits(manager: ServiceManager) -> None:
    _fill(manager)
    with _pipe() as (read, write):
        manager.store("lock", write)
        os.close(write)
        manager.close()
        assert not _is_open(read)
    assert not manager.present
    manager.ready()


@pytest.mark.parametrize("address", [None, "", "relative", "@", "/", "vsock:2:1234"])
def test_no_service_manager(address: str | None) -> None:
    before = open_files()
    environ = {} if address is None else {"NOTIFY_SOCKET": address}
    manager = ServiceManager(environ)
    manager.ready()
    manager.reloading()
    manager.status("x")
    manager.stopping()
    with _pipe() as (_, write):
        manager.store("x", write)
    manager.unstore("x")
    assert manager.take_stored() == {}
    manager.start_watchdog()
    manager.close()
    assert environ == {}
    assert open_files() == before


async def test_watchdog_pings_at_half_the_time(
    receiver: NotifyReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, waits = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def noted(delay: float, *rest: Any) -> asyncio.TimerHandle:
        waits.append(delay)
        return call_later(delay, *rest)

    monkeypatch.setattr(loop, "call_later", noted)
    environ = {
        "NOTIFY_SOCKET": receiver.address,
        "WATCHDOG_USEC": "100000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    manager = ServiceManager(environ)
    assert environ == {}
    manager.start_watchdog()
    manager.start_watchdog()
    start = time.monotonic()
    for _ in range(3):
        assert (await receiver.wait()).lines == ["WATCHDOG=1"]
    assert time.monotonic() - start >= 0.09
    assert waits.count(0.05) >= 2
    manager.close()
    receiver.drain()


@pytest.mark.parametrize(
    ("usec", "pid"), [("", ""), ("0", ""), ("-5", ""), ("soon", ""), ("100", "1"), ("100", "x"), ("1e3", "")]
)
async def test_no_watchdog(receiver: NotifyReceiver, usec: str, pid: str) -> None:
    environ = {"NOTIFY_SOCKET": receiver.address, "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    manager = ServiceManager(environ)
    manager.start_watchdog()
    await asyncio.sleep(0)
    manager.close()
    assert receiver.drain() == []
