# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from missiond.common.time_slice import at_once
from missiond.daemon.missions import probe
from missiond.host.cgroups.tree import Unit
from missiond.host.cgroups.usage import measure
from missiond.host.processes import jobs
from missiond.host.processes import stat as process_stat
from missiond.host.processes.exec_inotify import ExecWatch, linkers
from missiond.host.processes.jobs import SharedCgroup, is_place
from missiond.host.processes.stat import Stat


def stat(name: bytes, *, pid: int = 10, session: int = 10, terminal: int = 1, parent: int = 1) -> Stat:
    return Stat(pid, name, "S", parent, pid, session, terminal, 0, 1, 100)


@pytest.mark.parametrize(
    ("name", "argv", "place"),
    [
        (b"bash", [b"-bash"], True),
        (b"bash", [b"/bin/bash"], True),
        (b"bash", [b"bash", b"--norc", b"-i"], True),
        (b"bash", [b"bash", b"--rcfile", b"x"], True),
        (b"bash", [b"bash", b"-o", b"vi", b"+O", b"extglob"], True),
        (b"bash", [b"bash", b"-c", b"make"], False),
        (b"bash", [b"-bash", b"-c", b"make; make install"], False),
        (b"bash", [b"bash", b"-o", b"errexit", b"build.sh"], False),
        (b"sh", [b"sh", b"-ec", b"make"], False),
        (b"sh", [b"sh", b"build.sh"], False),
        (b"sh", [], True),
        (b"vim", [b"vim"], False),
        (b"sshd", [], True),
        (b"sshd-session", [], True),
        (b"tmux: server", [], True),
        (b"tmux", [], True),
        (b"(ond-keep)", [], True),
        (b"(x", [], False),
        (b"9", [b"/usr/lib/systemd/systemd-executor", b"--deserialize", b"84"], True),
        (b"9", [b"9"], False),
        (b"9", [b"(ond-keep)"], True),
        (b"9", [b""], True),
    ],
)
def test_shells_and_their_like_are_no_jobs(name: bytes, argv: list[bytes], place: bool) -> None:
    assert is_place(stat(name), lambda _: argv) is place


def test_sudo_is_no_job_but_what_it_runs_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a terminal of its own, and a monitor there, sudo(8) makes three process groups."""
    one, monitor = stat(b"sudo", pid=20), stat(b"sudo", pid=21, session=21)
    make = replace(stat(b"make", pid=22, session=21), group=20, start_ticks=101)
    assert is_place(one)
    assert is_place(monitor)
    assert jobs._job(20, [one]).leader == one
    helper = replace(stat(b"unix_chkpwd", pid=22), group=20)
    assert is_place(jobs._job(20, [one, helper]).leader)
    job = jobs._job(20, [one, make])
    assert (job.leader, job.founded) == (make, one.start_ticks)
    assert not is_place(job.leader)
    parents = {20: one, 30: stat(b"bash", pid=30)}
    monkeypatch.setattr(jobs, "_read", parents.get)
    shell = replace(stat(b"bash", pid=23, session=10), parent=20)
    assert is_place(shell, lambda _: [b"-bash"])
    assert not is_place(shell, lambda _: [b"bash"])
    # a loop that a login shell runs in the background
    assert not is_place(replace(shell, parent=30), lambda _: [b"-bash"])


def test_a_shell_that_reads_a_script_from_another_host_is_a_job() -> None:
    """`ssh host bash -s`; but not what reads the commands of `ssh -T host`, which is the login shell."""
    assert not is_place(stat(b"bash", terminal=0), lambda _: [b"bash", b"-s"])
    assert is_place(stat(b"bash", terminal=0), lambda _: [b"-bash"])
    assert is_place(stat(b"bash", terminal=0), lambda _: [])


def test_what_a_login_shell_of_su_was_told_to_run_is_a_job() -> None:
    """`su - bob -c COMMAND`, in a session of its own, and as sudo(8) has it, in a process group."""
    words = [b"-bash", b"-c", b"make; make install"]
    for session in (10, 9):
        assert not is_place(stat(b"bash", session=session), lambda _: words, lambda _: b"su")


def test_a_shell_within_a_shell_is_a_job() -> None:
    assert not is_place(stat(b"bash", pid=11), lambda _: [b"bash"])


@pytest.mark.parametrize(
    ("parent", "leader", "place"),
    [(10, b"login", True), (10, b"bash", False), (10, b"", False), (9, b"login", False)],
)
def test_the_shell_of_a_login_that_leads_the_session(parent: int, leader: bytes, place: bool) -> None:
    shell = stat(b"bash", pid=11, session=10, parent=parent)
    assert is_place(shell, lambda _: [b"-bash"], lambda _: leader) is place


def test_names_that_try_to_confuse() -> None:
    text = b"7 (a) R 1 2) S 1 8 9 34816 8 0 0 0 0 0 3 4 0 0 20 0 5 0 600 1000 2 18446744073709551615 0 0"
    found = process_stat.parse(text)
    assert (found.name, found.state, found.group, found.session) == (b"a) R 1 2", "S", 8, 9)
    assert (found.cpu_ticks, found.threads, found.start_ticks) == (7, 5, 600)
    for bad in (b"", b"7 (a", b"7 (a) S 1"):
        with pytest.raises(ValueError, match=r"stat|invalid literal"):
            process_stat.parse(bad)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[SharedCgroup, list[subprocess.Popen[bytes]]]]:
    """Two processes of one job and one of another, in a group that is a file."""
    first = subprocess.Popen(["sleep", "60"], process_group=0)
    second = subprocess.Popen(["sleep", "60"], process_group=first.pid)
    third = subprocess.Popen(["sleep", "60"], process_group=0)
    started = [first, second, third]
    (tmp_path / "cgroup.procs").write_text("".join(f"{process.pid}\n" for process in started))
    yield SharedCgroup(tmp_path), started
    for process in started:
        process.kill()
        process.wait()


def test_what_becomes_another_program_while_it_is_looked_at(
    group: tuple[SharedCgroup, list[subprocess.Popen[bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (first, _, third) = group
    now = process_stat.read(first.pid)
    assert not jobs.became_another(now)
    before = replace(now, name=b"bash")
    assert jobs.became_another(before)
    unit = Unit("user.slice/session-1.scope", "session-1.scope", os.getuid(), 7)
    assert probe.of_job(unit, first.pid, before) is None
    assert probe.of_job(unit, first.pid, now) is not None
    gone = process_stat.read(third.pid)
    third.kill()
    third.wait()
    assert jobs.became_another(gone)
    # later it may call itself what it likes
    monkeypatch.setattr(jobs, "SETTLED", -1.0)
    assert not jobs.became_another(before)


def test_jobs_and_what_is_left_of_them(
    group: tuple[SharedCgroup, list[subprocess.Popen[bytes]]],
) -> None:
    shared, (first, second, third) = group
    assert {job.group: job.leader.pid for job in at_once(shared.look()).values()} == {
        first.pid: first.pid, third.pid: third.pid,
    }  # fmt: skip
    job = at_once(shared.look())[first.pid]
    assert at_once(measure(at_once(shared.members(job)), first.pid, None)).processes == 2
    assert at_once(shared.members(replace(job, founded=0))) == []
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert at_once(shared.look())[first.pid].leader.pid == second.pid  # a zombie is nobody
    third.kill()
    third.wait()
    assert set(at_once(shared.look())) == {first.pid}


async def test_programs_that_start_are_heard() -> None:
    assert linkers()
    started = asyncio.Event()
    watch = ExecWatch(started.set)
    assert watch
    try:
        started.clear()
        process = await asyncio.create_subprocess_exec("true")
        await started.wait()
        await process.wait()
    finally:
        watch.close()
    watch.close()


async def test_a_linker_that_is_upgraded_is_watched_again(tmp_path: Path) -> None:
    started = asyncio.Event()
    linker = tmp_path / "ld.so"
    linker.write_text("old")
    watch = ExecWatch(started.set, [linker])
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").rename(linker)
    await started.wait()
    started.clear()
    linker.read_text()
    await started.wait()
    watch.close()
