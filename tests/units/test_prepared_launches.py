# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from missiond.core.launch.description import LaunchDescription
from missiond.units import launches as launches_module
from missiond.units.launches import Launches
from missiond.units.requests import GO, READY, Order
from missiond.units.state_files import HandedFiles

TRANSFER = "ab" * 16
UNIT = f"app-missiond-x@{TRANSFER}.service"
ORDER = Order(LaunchDescription(("/bin/true",), app_id="x"))


class FakeLaunches(Launches):
    """Places files, and starts nothing but notes that it was told to."""

    def __init__(self, runtime: Path) -> None:
        super().__init__(runtime)
        self.runtime = runtime
        self.started = 0

    @contextlib.contextmanager
    def prepared(
        self, unit: str, what: LaunchDescription, files: Sequence[tuple[str, int, int]], origin: str
    ) -> Iterator[Callable[[], str]]:
        handed = HandedFiles(self.runtime, TRANSFER)
        handed.stage({name: (fd, size) for name, fd, size in files})

        def start() -> str:
            handed.settle()
            self.started += 1
            return "MainPID=7\n"

        try:
            yield start
        finally:
            handed.unstage()


@pytest.fixture
def launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeLaunches:
    # a thread may set no handler
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return FakeLaunches(tmp_path)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(20)
        yield ours, theirs


def run(
    launches: FakeLaunches, ours: socket.socket, theirs: socket.socket, word: Callable[[], object]
) -> str | None:
    """What comes of it when `word` is done once it is ready."""
    found: list[str | None] = []
    with contextlib.ExitStack() as stack:
        fd = os.memfd_create("state")
        stack.callback(os.close, fd)
        os.write(fd, b"state")
        files = [("state", fd, 5)]
        thread = threading.Thread(
            target=lambda: found.append(launches.serve_prepared(theirs, UNIT, ORDER, files))
        )
        thread.start()
        assert ours.recv(100) == READY
        [staged] = (launches.runtime / "missiond").iterdir()
        assert staged.name.startswith(f"{TRANSFER}.")
        assert (staged / "state").read_bytes() == b"state"
        assert launches.started == 0
        word()
        thread.join(20)
        assert not thread.is_alive()
    return found[0]


def test_it_starts_at_the_word(launches: FakeLaunches, pair: tuple[socket.socket, socket.socket]) -> None:
    assert run(launches, *pair, lambda: pair[0].send(GO)) == "MainPID=7\n"
    assert launches.started == 1
    assert (launches.runtime / "missiond" / TRANSFER / "state").read_bytes() == b"state"
    assert [path.name for path in (launches.runtime / "missiond").iterdir()] == [TRANSFER]


@pytest.mark.parametrize("word", [b"gone", b"g", b"GO"])
def test_no_other_word_will_do(
    launches: FakeLaunches, pair: tuple[socket.socket, socket.socket], word: bytes
) -> None:
    assert run(launches, *pair, lambda: pair[0].send(word)) is None
    assert launches.started == 0
    assert list((launches.runtime / "missiond").iterdir()) == []


def test_nobody_is_left_to_say_it(launches: FakeLaunches, pair: tuple[socket.socket, socket.socket]) -> None:
    assert run(launches, *pair, pair[0].close) is None
    assert launches.started == 0
    assert list((launches.runtime / "missiond").iterdir()) == []


def test_it_does_not_wait_for_ever(
    launches: FakeLaunches, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launches_module, "HOLD", 0.05)
    assert run(launches, *pair, lambda: None) is None
    assert launches.started == 0
    assert list((launches.runtime / "missiond").iterdir()) == []


def test_what_was_there_before_is_replaced(tmp_path: Path) -> None:
    fd = os.memfd_create("state")
    try:
        os.write(fd, b"new")
        handed = HandedFiles(tmp_path, TRANSFER)
        handed.place({"state": (fd, 2)})
        paths = handed.stage({"state": (fd, 3)})
        assert paths["state"].read_bytes() == b"ne"
        handed.settle()
        assert paths["state"].read_bytes() == b"new"
        handed.unstage()
        handed.remove()
        with pytest.raises(FileNotFoundError):
            handed.settle()
    finally:
        os.close(fd)
