# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from missiond.helper.processes import Users
from missiond.units import unit_watch
from missiond.units.unit_watch import object_path, serve
from missiond.units.units import SystemctlManager, answer
from standins.services.manager_socket import ManagerSocketStandIn
from standins.services.notify_socket import NotifyReceiver

A, B = object_path("a.service"), object_path("1b@x.service")


class Watched:
    """A watch in a thread, with its listener and its manager."""

    def __init__(self, place: Path) -> None:
        self.manager = ManagerSocketStandIn(place)
        self.listener, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.settimeout(10)
        self.error: OSError | None = None
        self._thread = threading.Thread(target=self._run, args=(place,), daemon=True)
        self._thread.start()
        self.manager.accept()

    def _run(self, place: Path) -> None:
        try:
            serve(self._theirs, place, "a.service")
        except OSError as error:
            self.error = error
        self._theirs.close()

    def next(self) -> list[str]:
        """The next message: name, result of a failure, whether it was removed."""
        return self.listener.recv(4096).decode().split("\n")

    def until(self, *message: str) -> None:
        """Wait for this message, where others may come before."""
        while self.next() != list(message):
            pass

    def ended(self) -> OSError | None:
        """Wait for the end; what it was."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.error

    def close(self) -> None:
        """End it."""
        self.listener.close()
        self.manager.close()
        self.ended()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    assert made.next() == ["a.service", "", ""]
    yield made
    made.close()


def test_the_path_of_a_unit() -> None:
    assert A == "/org/freedesktop/systemd1/unit/a_2eservice"
    assert B == "/org/freedesktop/systemd1/unit/_31b_40x_2eservice"


def test_a_change_is_told_and_a_failure_with_its_result(watched: Watched) -> None:
    manager = watched.manager
    manager.changed(B, "Unit", ActiveState="failed")  # nobody asked
    manager.changed(A, "Unit", ActiveState="activating", SubState="auto-restart")
    assert watched.next() == ["a.service", "", ""]
    manager.changed(A, "Service", Result="exit-code")
    assert watched.next() == ["a.service", "", ""]
    manager.changed(A, "Unit", ActiveState="failed")
    assert watched.next() == ["a.service", "exit-code", ""]
    manager.removed("a.service", A)
    assert watched.next() == ["a.service", "exit-code", "removed"]
    manager.changed(A, "Service", Result="success")  # somebody asked for it
    manager.changed(A, "Unit", ActiveState="inactive")
    assert watched.next() == ["a.service", "exit-code", "removed"]
    manager.changed(A, "Unit", ActiveState="active")
    watched.until("a.service", "", "")


def test_more_services_in_one_connection(watched: Watched) -> None:
    watched.listener.send(b"1b@x.service")
    assert watched.next() == ["1b@x.service", "", ""]
    watched.manager.removed("1b@x.service", B)
    assert watched.next() == ["1b@x.service", "", "removed"]


def test_what_comes_at_once_is_told_at_once(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_watch, "PAUSE", 0.5)
    for state in ("active", "deactivating", "failed"):
        watched.manager.changed(A, "Unit", ActiveState=state)
    told = [watched.next()]
    while told[-1][0] != "b.service":
        watched.listener.send(b"b.service")
        told.append(watched.next())
    assert len(told) <= 3


def test_it_ends_with_its_listener(watched: Watched) -> None:
    watched.listener.close()
    assert watched.ended() is None


def test_it_ends_with_the_manager(watched: Watched) -> None:
    watched.manager.close()
    assert watched.ended() is None
    assert watched.listener.recv(4096) == b""


def test_no_service_is_an_error(watched: Watched) -> None:
    watched.listener.send(b"../a.service")
    assert getattr(watched.ended(), "errno", 0) == errno.EINVAL


@pytest.mark.parametrize("sent", [b"nonsense" * 4, b"l\1\0\1" + b"\xff" * 40])
def test_a_manager_that_makes_no_sense(watched: Watched, sent: bytes) -> None:
    watched.manager.send(sent)
    error = watched.ended()
    assert error is not None
    assert error.errno in (errno.EBADMSG, errno.EMSGSIZE)


def test_a_signal_of_another_kind(watched: Watched) -> None:
    watched.manager.changed(A, "Job", Result="done")
    assert watched.next() == ["a.service", "", ""]


def test_it_may_outlast_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = tmp_path / "notify"
    receiver = NotifyReceiver(address)
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    watched = Watched(tmp_path)
    assert watched.next() == ["a.service", "", ""]
    notification = receiver.receive()
    assert notification is not None
    [line] = notification.lines
    assert line.startswith("EXTEND_TIMEOUT_USEC=")
    watched.close()
    receiver.close()


def test_no_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemctlManager, "system", lambda: SystemctlManager([], tmp_path, tmp_path))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert answer(b"watch system a.service", Users(), (), theirs) == b"no ENOENT"
    assert answer(b"watch system a.service", Users()) == b""
