# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from missiond.host.power import events as power_events
from missiond.host.power.events import PowerEvents, event_sources
from standins.open_files import open_files

TESTS = Path(__file__).parents[2]
PRELOAD = "libumockdev-preload.so.0"


class FakeMonitor:
    """A monitor whose events are bytes in a socket pair; b"!" is an overflow of the buffer."""

    def __init__(self) -> None:
        self.ours, self.kernel = socket.socketpair()
        self.ours.setblocking(False)

    def fileno(self) -> int:
        return self.ours.fileno()

    def poll(self, timeout: float) -> object | None:
        assert timeout == 0
        try:
            event = self.ours.recv(1)
        except BlockingIOError:
            return None
        if event == b"!":
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        return event

    def close(self) -> None:
        self.ours.close()
        self.kernel.close()


class Udev:
    """Hands out fake monitors, or refuses."""

    def __init__(self) -> None:
        self.monitors: list[FakeMonitor] = []
        self.refusals: list[Exception] = []
        self.sources: list[str] = []

    def open_monitor(self, source: str) -> FakeMonitor:
        self.sources.append(source)
        if self.refusals:
            raise self.refusals.pop(0)
        self.monitors.append(FakeMonitor())
        return self.monitors[-1]

    def event(self, data: bytes) -> None:
        self.monitors[-1].kernel.send(data)


@pytest.fixture
def udev(monkeypatch: pytest.MonkeyPatch) -> Udev:
    made = Udev()
    monkeypatch.setattr(power_events, "open_monitor", made.open_monitor)
    monkeypatch.setattr(power_events, "_FIRST_PAUSE", 0.01)
    return made


class Changes:
    """Counts callbacks and lets a test wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self._more = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._more.set()

    async def wait(self, count: int) -> None:
        while self.count < count:
            self._more.clear()
            await self._more.wait()


async def test_events_at_once_are_one_change(udev: Udev) -> None:
    changes = Changes()
    events = PowerEvents(changes, "udev")
    assert events.active
    udev.event(b"xxxx")
    await changes.wait(1)
    udev.event(b"x")
    await changes.wait(2)
    assert changes.count == 2
    events.close()
    assert not events.active
    udev.monitors[0].close()


async def test_overflow_is_a_change_and_the_monitor_is_made_anew(udev: Udev) -> None:
    changes = Changes()
    events = PowerEvents(changes, "udev")
    udev.event(b"x!")
    await changes.wait(1)
    await changes.wait(2)
    assert len(udev.monitors) == 2
    udev.event(b"x")
    await changes.wait(3)
    events.close()
    for monitor in udev.monitors:
        monitor.close()


async def test_socket_that_is_refused_is_tried_again(udev: Udev) -> None:
    changes = Changes()
    udev.refusals = [OSError("no"), OSError("no")]
    events = PowerEvents(changes, "udev")
    assert not events.active
    await changes.wait(1)
    assert events.active
    assert len(udev.sources) == 3
    events.close()
    udev.monitors[0].close()


@pytest.mark.parametrize("error", [ImportError("No library named udev"), ValueError("Invalid source")])
async def test_missing_library_is_not_tried_again(udev: Udev, error: Exception) -> None:
    udev.refusals = [error]
    events = PowerEvents(Changes(), "udev")
    assert not events.active
    assert not events._retries.waiting
    events.close()


async def test_close_ends_the_retry(udev: Udev) -> None:
    before = open_files()
    udev.refusals = [OSError("no")]
    events = PowerEvents(Changes(), "udev")
    events.close()
    assert not events._retries.waiting
    assert udev.monitors == []
    assert open_files() == before


async def test_callback_may_fail(udev: Udev, caplog: pytest.LogCaptureFixture) -> None:
    changes = Changes()

    def callback() -> None:
        changes()
        raise RuntimeError("broken")

    events = PowerEvents(callback, "udev")
    udev.event(b"x")
    await changes.wait(1)
    udev.event(b"x")
    await changes.wait(2)
    assert "RuntimeError: broken" in caplog.text
    events.close()
    udev.monitors[0].close()


async def test_callback_may_close(udev: Udev) -> None:
    changes = Changes()

    def callback() -> None:
        events.close()
        changes()

    events = PowerEvents(callback, "udev")
    udev.event(b"!")
    await changes.wait(1)
    assert not events.active
    assert not events._retries.waiting
    udev.monitors[0].close()


def test_source(tmp_path: Path) -> None:
    assert event_sources(tmp_path / "control") == ["kernel"]
    (tmp_path / "control").touch()
    assert event_sources(tmp_path / "control") == ["udev", "kernel"]


async def test_real_monitor_opens_and_closes() -> None:
    pytest.importorskip("pyudev")
    before = open_files()
    events = PowerEvents(Changes(), "udev")
    if not events.active:
        events.close()
        pytest.skip("this host gives no uevent socket")
    assert len(open_files()) > len(before)
    events.close()
    assert {fd: target for fd, target in open_files().items() if "socket:" in target} == {
        fd: target for fd, target in before.items() if "socket:" in target
    }


@pytest.mark.skipif(shutil.which("umockdev-run") is None, reason="needs umockdev")
@pytest.mark.parametrize("source", ["udev", "kernel"])
def test_change_event_reaches_the_callback(tmp_path: Path, source: str) -> None:
    """Through pyudev and libudev, with a battery that only umockdev makes."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "standins/programs/power_host.py"), source],
        env={
            **os.environ,
            "LD_PRELOAD": PRELOAD,
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(TESTS.parent / "agent"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.PIPE,
        check=True,
        timeout=15,
    )
    assert json.loads(done.stdout) == [
        [True, 20.0, False, True],
        [True, 10.0, False, True],
        [True, 10.0, True, False],
        [False, None, True, False],
    ]
    assert list(tmp_path.iterdir()) == []
