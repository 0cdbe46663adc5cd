# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from missiond.helper import cgroups, paths, processes
from missiond.helper.processes import Users
from missiond.helper.requests import Adjust, Back, Drop, Keep, Kill, Request, Signal, Thaw
from missiond.helper.service import Service, answer, carrier
from missiond.host import process_tree
from missiond.host.privileged import Helper, HelperMissing
from missiond.host.procfs import ProcDirectory

ME = Users(frozenset({os.getuid()}))


@pytest.fixture
def sleeper() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    process = subprocess.Popen(["sleep", "60"])
    with ProcDirectory(process.pid) as directory:
        start = directory.start_ticks()
    yield process, start
    process.kill()
    process.wait(timeout=10)


def _score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_people_and_named_users_only() -> None:
    users = Users(frozenset({33}))
    assert all(uid in users for uid in (33, 1000, 60513, 65536, 2_000_000))
    assert not any(uid in users for uid in (0, 34, 999, 61184, 65534, 65535))


def test_adjust_only_from_what_it_was(sleeper: tuple[subprocess.Popen[bytes], int]) -> None:
    process, start = sleeper
    before = _score(process.pid)
    processes.adjust(Adjust(process.pid, start, before, before + 5), ME)
    assert _score(process.pid) == before + 5
    processes.adjust(Adjust(process.pid, start, before, before + 5), ME)
    with pytest.raises(OSError, match="oom_score_adj is") as caught:
        processes.adjust(Adjust(process.pid, start, before, before + 9), ME)
    assert caught.value.errno == errno.EAGAIN
    assert _score(process.pid) == before + 5


def test_another_start_time_is_another_process(sleeper: tuple[subprocess.Popen[bytes], int]) -> None:
    process, start = sleeper
    assert answer(f"signal {process.pid} {start + 1} KILL".encode(), carrier(ME)) == b"no ESRCH"
    assert process.poll() is None


def test_signal(sleeper: tuple[subprocess.Popen[bytes], int]) -> None:
    process, start = sleeper
    processes.send(Signal(process.pid, start, "TERM"), ME)
    assert process.wait(timeout=10) == -15


def test_a_process_of_nobodys_is_refused(sleeper: tuple[subprocess.Popen[bytes], int]) -> None:
    process, start = sleeper
    with pytest.raises((PermissionError, ProcessLookupError)):
        processes.send(Signal(process.pid, start, "KILL"), _Nobody())
    assert process.poll() is None


class _Nobody(Users):
    def __contains__(self, uid: int) -> bool:
        return False


def _cgroup(root: Path, path: str) -> int:
    directory = root / path
    directory.mkdir(parents=True)
    for name in ("cgroup.freeze", "cgroup.kill"):
        (directory / name).write_text("")
    return directory.stat().st_ino


def test_cgroups_are_told_by_their_inode(tmp_path: Path) -> None:
    path = "user.slice/user-1000.slice/a.scope"
    inode = _cgroup(tmp_path, path)
    cgroups.thaw(Thaw(inode, path), tmp_path)
    cgroups.kill(Kill(inode, path), tmp_path)
    assert (tmp_path / path / "cgroup.freeze").read_text() == "0"
    assert (tmp_path / path / "cgroup.kill").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        cgroups.kill(Kill(inode + 1, path), tmp_path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    inode = _cgroup(tmp_path, "system.slice/x/a.scope")
    (tmp_path / "user.slice").symlink_to("system.slice")
    with pytest.raises(NotADirectoryError):
        cgroups.thaw(Thaw(inode, "user.slice/x/a.scope"), tmp_path)


@pytest.mark.parametrize("name", ["user@1000.service", "app.slice"])
def test_only_services_and_scopes_are_killed(tmp_path: Path, name: str) -> None:
    path = f"user.slice/user-1000.slice/{name}"
    inode = _cgroup(tmp_path, path)
    with pytest.raises(PermissionError):
        cgroups.kill(Kill(inode, path), tmp_path)


def test_what_is_kept_may_be_killed_and_dropped(tmp_path: Path) -> None:
    path = "user.slice/user-1000.slice/missiond-keep@1000.service/42-7"
    inode = _cgroup(tmp_path, path)
    cgroups.kill(Kill(inode, path), tmp_path)
    assert (tmp_path / path / "cgroup.kill").read_text() == "1"
    with pytest.raises(OSError, match="not empty"):
        cgroups.drop(Drop(inode, path), tmp_path)
    for file in (tmp_path / path).iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError):
        cgroups.drop(Drop(inode + 1, path), tmp_path)
    cgroups.drop(Drop(inode, path), tmp_path)
    assert not (tmp_path / path).exists()


def test_nothing_is_moved_but_from_sessions(
    sleeper: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    process, start = sleeper
    here = process_tree.look(process.pid).cgroup
    session = "user.slice/user-1000.slice/session-c1.scope"
    if paths.session_of(here) is None:
        with pytest.raises(PermissionError):
            cgroups.keep(Keep(process.pid, start, f"{process.pid}-{start}"), ME, tmp_path)
    with pytest.raises(PermissionError):
        cgroups.back(Back(process.pid, start, 9, session), tmp_path)
    with pytest.raises(ProcessLookupError):
        cgroups.back(Back(process.pid, start + 1, 9, session), tmp_path)


Serve = Callable[[frozenset[int], list[Request]], Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    threads: list[threading.Thread] = []

    def begin(peers: frozenset[int], heard: list[Request]) -> Path:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(str(tmp_path / "socket"))
        listening.listen()

        def run() -> None:
            with listening:
                Service(listening, peers, heard.append).run(idle=0.5)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return tmp_path / "socket"

    yield begin
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()


async def test_the_agent_asks(serve: Serve) -> None:
    heard: list[Request] = []
    helper = Helper(serve(frozenset({os.getuid()}), heard))
    requests: list[Request] = [Adjust(42, 7, 0, -300), Signal(42, 7, "TERM")]
    assert await helper.ask(requests) == ["", ""]
    assert heard == requests
    helper.close()


async def test_a_stranger_is_sent_away(serve: Serve) -> None:
    heard: list[Request] = []
    helper = Helper(serve(frozenset({os.getuid() + 1}), heard))
    with pytest.raises(HelperMissing):
        await helper.ask([Signal(42, 7, "TERM")])
    assert heard == []


async def test_no_helper(tmp_path: Path) -> None:
    with pytest.raises(HelperMissing, match="No such file"):
        await Helper(tmp_path / "none").ask([Signal(42, 7, "TERM")])
