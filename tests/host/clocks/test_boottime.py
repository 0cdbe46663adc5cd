# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from missiond.host.clocks import timerfd
from missiond.host.clocks.boottime import Alarm, BootClock
from standins.open_files import open_files

CLOCK = BootClock()


@pytest.fixture(params=["default", "libc"])
def _either_timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "libc":
        monkeypatch.setattr(timerfd, "create", timerfd.create_through_libc)
        monkeypatch.setattr(timerfd, "set_absolute", timerfd.set_through_libc)


def test_now_is_boottime_in_ms() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    now = CLOCK.now()
    after = time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    assert before - 1 <= now <= after


def test_wall_is_epoch_in_ms() -> None:
    assert abs(CLOCK.wall() - time.time() * 1000) < 1000


def test_boot_id_is_the_kernels() -> None:
    assert CLOCK.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_boot_id_unreadable_matches_no_other(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "boot_id"
    if content is not None:
        file.write_bytes(content)
    first, second = BootClock(file), BootClock(file)
    assert first.boot_id == first.boot_id
    assert first.boot_id.startswith("unknown-")
    assert first.boot_id != second.boot_id


@pytest.mark.usefixtures("_either_timer")
async def test_alarm_fires_once_and_on_time() -> None:
    fired: list[int] = []
    done = asyncio.Event()

    def callback() -> None:
        fired.append(CLOCK.now())
        done.set()

    alarm = Alarm(callback)
    try:
        due = CLOCK.now() + 30
        alarm.set(due)
        assert alarm.when == due
        await done.wait()
        assert fired[0] >= due
        assert alarm.when is None
        await _turns()
        assert len(fired) == 1
    finally:
        alarm.close()


@pytest.mark.usefixtures("_either_timer")
@pytest.mark.parametrize("past", [lambda: CLOCK.now() - 5000, lambda: 0, lambda: -1])
async def test_alarm_in_the_past_fires_at_once(past: Callable[[], int]) -> None:
    done = asyncio.Event()
    alarm = Alarm(done.set)
    try:
        alarm.set(past())
        async with asyncio.timeout(10):
            await done.wait()
    finally:
        alarm.close()


@pytest.mark.usefixtures("_either_timer")
async def test_alarm_set_again_after_it_ran_out_does_not_fire() -> None:
    fired: list[int] = []
    alarm = Alarm(lambda: fired.append(1))
    try:
        alarm.set(0)
        alarm.set(CLOCK.now() + 3_600_000)
        await _turns()
        assert fired == []
        alarm.set(0)
        alarm.set(None)
        await _turns()
        assert fired == []
    finally:
        alarm.close()


async def test_alarm_set_in_its_own_callback_fires_again() -> None:
    done = asyncio.Event()
    count = 0

    def callback() -> None:
        nonlocal count
        count += 1
        if count < 3:
            alarm.set(0)
        else:
            done.set()

    alarm = Alarm(callback)
    try:
        alarm.set(0)
        await done.wait()
        assert count == 3
    finally:
        alarm.close()


async def test_closed_alarm_keeps_no_fd_and_stays_silent() -> None:
    fired: list[int] = []
    before = open_files()
    alarm = Alarm(lambda: fired.append(1))
    assert len(open_files()) == len(before) + 1
    alarm.set(0)
    alarm.close()
    alarm.close()
    alarm.set(0)
    await _turns()
    assert fired == []
    assert open_files() == before


async def test_alarm_fd_is_not_inherited() -> None:
    before = open_files()
    alarm = Alarm(lambda: None)
    try:
        (fd,) = set(open_files()) - set(before)
        assert not os.get_inheritable(fd)
    finally:
        alarm.close()


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
