# SPDX-License-Identifier: Apache-2.0
"""Passed fds begin at 3, so each case runs in a process of its own, with systemd-python and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from missiond.host.systemd.service_manager import is_ours, is_valid_name
from standins.services.notify_socket import NotifyReceiver, notify_receiver

AGENT = Path(__file__).parents[3] / "agent"
CHILD = """
import json, os, sys
if {without_library}:
    sys.modules["systemd"] = None
sys.path.insert(0, {agent!r})
from missiond.host.systemd.service_manager import ServiceManager
def target(fd):
    path = f"/proc/self/fd/{{fd}}"
    return os.path.lexists(path) and os.readlink(path)
os.environ["LISTEN_PID"] = {pid} or str(os.getpid())
manager = ServiceManager()
taken = manager.take_stored()
print(json.dumps({{
    "taken": {{name: os.readlink(f"/proc/self/fd/{{fd}}") for name, fd in taken.items()}},
    "inheritable": [os.get_inheritable(fd) for fd in taken.values()],
    "open": sorted(filter(None, map(target, range(3, 40)))),
    "environ": [name for name in os.environ if name.startswith(("LISTEN_", "NOTIFY_"))],
    "again": manager.take_stored(),
}}))
"""
# Runs CHILD with the files named by the arguments at 3, 4, 5, ...; "-" leaves a gap.
LAUNCHER = """
import os, sys
files = sys.argv[2:]
os.closerange(3, 40)
for number, name in enumerate(files, 3):
    fd = os.open("/dev/null" if name == "-" else name, os.O_RDONLY)
    assert fd == number, (fd, number)
    os.set_inheritable(fd, True)
for number, name in enumerate(files, 3):
    if name == "-":
        os.close(number)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""


@dataclass
class Runner:
    receiver: NotifyReceiver
    directory: Path
    without_library: bool

    def run(
        self, names: str | None, files: list[str], count: str | None = None, pid: str = ""
    ) -> dict[str, Any]:
        for file in files:
            if file != "-":
                (self.directory / file).touch()
        environ = {
            **os.environ,
            "NOTIFY_SOCKET": self.receiver.address,
            "LISTEN_FDS": str(len(files)) if count is None else count,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if names is not None:
            environ["LISTEN_FDNAMES"] = names
        child = CHILD.format(agent=str(AGENT), without_library=self.without_library, pid=repr(pid))
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, child, *files],
            env=environ,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["environ"] == []
        assert answer["again"] == {}
        assert not any(answer["inheritable"])
        answer["taken"] = {name: Path(path).name for name, path in answer["taken"].items()}
        answer["open"] = [Path(path).name for path in answer["open"] if path.startswith(str(self.directory))]
        return answer

    def told(self) -> list[list[str]]:
        return [notification.lines for notification in self.receiver.drain()]


@pytest.fixture(params=["library", "fallback"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    if request.param == "library":
        pytest.importorskip("systemd.daemon")
    with ExitStack() as stack:
        receiver = stack.enter_context(notify_receiver(tmp_path / "notify"))
        yield Runner(receiver, tmp_path, request.param == "fallback")


def test_takes_over_by_name(runner: Runner) -> None:
    answer = runner.run("transient-1-1:continuous-2-5", ["a", "b"])
    assert answer["taken"] == {"transient-1-1": "a", "continuous-2-5": "b"}
    assert answer["open"] == ["a", "b"]
    assert runner.told() == []


def test_nameless_and_second_ones_are_closed_here_and_there(runner: Runner) -> None:
    answer = runner.run("lock:stored:lock", ["a", "b", "c"])
    assert answer["taken"] == {"lock": "a"}
    assert answer["open"] == ["a"]
    told = runner.told()
    assert ["FDSTOREREMOVE=1", "FDNAME=stored"] in told
    again = told.index(["FDSTORE=1", "FDNAME=lock", "FDPOLL=0"])
    assert told.index(["FDSTOREREMOVE=1", "FDNAME=lock"]) < again


def test_without_names_all_are_closed(runner: Runner) -> None:
    answer = runner.run(None, ["a", "b"])
    assert answer["taken"] == {}
    assert answer["open"] == []
    assert runner.told() == [["FDSTOREREMOVE=1", "FDNAME=unknown"]]


def test_one_that_is_not_open_does_not_spoil_the_others(runner: Runner) -> None:
    answer = runner.run("a:gap:b", ["a", "-", "b"])
    assert answer["taken"] == {"a": "a", "b": "b"}


@pytest.mark.parametrize("count", ["", "0", "x", "-1", "99999999999999999999"])
def test_wrong_counts(runner: Runner, count: str) -> None:
    assert runner.run("", [], count)["taken"] == {}


def test_meant_for_another_process(runner: Runner) -> None:
    answer = runner.run("lock", ["a"], pid="1")
    assert answer["taken"] == {}
    assert answer["open"] == ["a"]


def test_names() -> None:
    for name in ("unknown", "stored", "connection"):
        assert is_valid_name(name)
        assert not is_ours(name)
    assert is_ours("transient-1-1")
