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
from missiond.helper.capabilities import without_resource
from missiond.helper.processes import Users
from missiond.helper.requests import Adjust, Back, Drop, Keep, Kill, Raise, Request, Signal, Thaw
from missiond.helper.service import HelperServer, answer, carrier
from missiond.host.helper import Helper, HelperMissing
from missiond.host.processes import tree
from missiond.host.processes.procfs import ProcDirectory
from missiond.host.users.user_names import UserNames

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
    users = _users(65536, 524_300, 1_863_000_005, system=33)
    assert all(uid in users for uid in (33, 1000, 60513, 65536, 524_300, 1_863_000_005))
    assert not any(uid in users for uid in (0, 34, 999, 61184, 65534, 65535, 100_000, 524_301))


def test_containers_of_people_are_theirs() -> None:
    users = _users()
    own, theirs = "user.slice/user-1000.slice/a.scope", "machine.slice/box.scope/payload"
    assert users.have([100_000, 1000, 1000, 1000], own)
    assert users.have([1000], theirs)
    assert not users.have([100_000] * 4, theirs)
    assert not users.have([100_000] * 4, "user.slice/user-999.slice/a.scope")
    assert not users.have([0, 1000, 0, 0], own)
    assert not users.have([61184] * 4, own)


def _users(*named: int, system: int = 0) -> Users:
    names = dict.fromkeys(named, "eve")
    logins = Path("/nonexistent")
    return Users(frozenset({system} if system else ()), UserNames(logins=logins, name_of=names.__getitem__))


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


def test_raised_to_at_least(sleeper: tuple[subprocess.Popen[bytes], int]) -> None:
    process, start = sleeper
    before = _score(process.pid)
    for least, now in ((before + 5, before + 5), (before + 2, before + 5), (before + 5, before + 5)):
        processes.raise_score(Raise(process.pid, start, least), ME)
        assert _score(process.pid) == now
    with pytest.raises(ProcessLookupError):
        processes.raise_score(Raise(process.pid, start + 1, 900), ME)
    with pytest.raises(PermissionError):
        processes.raise_score(Raise(process.pid, start, 900), _Nobody())
    assert _score(process.pid) == before + 5


def test_without_a_capability_for_a_moment() -> None:
    def effective() -> int:
        status = Path("/proc/thread-self/status").read_text()
        return int(status.partition("CapEff:")[2].split()[0], 16)

    before = effective()
    with without_resource():
        assert effective() == before & ~(1 << 24)
    assert effective() == before


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
    path = "user.slice/user-1000.slice/user@1000.service/app.slice/a.scope"
    inode = _cgroup(tmp_path, path)
    cgroups.thaw(Thaw(inode, path), ME, tmp_path)
    cgroups.kill(Kill(inode, path), ME, tmp_path)
    assert (tmp_path / path / "cgroup.freeze").read_text() == "0"
    assert (tmp_path / path / "cgroup.kill").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        cgroups.kill(Kill(inode + 1, path), ME, tmp_path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    inode = _cgroup(tmp_path, "system.slice/user-1000.slice/a.scope")
    (tmp_path / "user.slice").symlink_to("system.slice")
    with pytest.raises(NotADirectoryError):
        cgroups.thaw(Thaw(inode, "user.slice/user-1000.slice/a.scope"), ME, tmp_path)


@pytest.mark.parametrize("uid", [0, 65534, 61184])
@pytest.mark.parametrize("verb", ["thaw", "kill"])
def test_cgroups_are_for_the_same_users_as_processes(tmp_path: Path, verb: str, uid: int) -> None:
    path = f"user.slice/user-{uid}.slice/user@{uid}.service/app.slice/a.scope"
    inode = _cgroup(tmp_path, path)
    assert answer(f"{verb} {inode} {path}".encode(), _here(tmp_path)) in (b"no EPERM", b"no EINVAL")
    assert (tmp_path / path / "cgroup.freeze").read_text() == ""
    assert (tmp_path / path / "cgroup.kill").read_text() == ""


def _here(root: Path) -> Callable[[Request], None]:
    def carry_out(request: Request) -> None:
        {"thaw": cgroups.thaw, "kill": cgroups.kill}[request.verb](request, _users(), root)  # type: ignore[operator]

    return carry_out


def test_what_a_session_limits_is_told_by_its_cgroup(tmp_path: Path) -> None:
    assert not cgroups.is_limited(tmp_path)
    for name, value in (("memory.max", "max"), ("pids.max", "max"), ("cpu.max", "max 100000")):
        (tmp_path / name).write_text(f"{value}\n")
    assert not cgroups.is_limited(tmp_path)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cgroups.is_limited(tmp_path)


def test_what_is_kept_may_be_killed_and_dropped(tmp_path: Path) -> None:
    path = "user.slice/user-1000.slice/missiond-keep@1000.service/42-7"
    inode = _cgroup(tmp_path, path)
    cgroups.kill(Kill(inode, path), ME, tmp_path)
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
    here = tree.look(process.pid).cgroup
    session = "user.slice/user-1000.slice/session-c1.scope"
    if paths.session_of(here) is None:
        with pytest.raises(PermissionError):
            cgroups.keep(Keep(process.pid, start, f"{process.pid}-{start}"), ME, tmp_path)
    with pytest.raises(PermissionError):
        cgroups.back(Back(process.pid, start, 9, session), ME, tmp_path)
    with pytest.raises(ProcessLookupError):
        cgroups.back(Back(process.pid, start + 1, 9, session), ME, tmp_path)


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
                HelperServer(listening, peers, heard.append).run(idle=0.5)

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
