# SPDX-License-Identifier: Apache-2.0
"""Processes whose first thread has ended: they live as long as any thread of theirs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from missiond.common.time_slice import at_once
from missiond.daemon.missions import probe
from missiond.helper import processes
from missiond.helper.processes import Users
from missiond.helper.requests import Signal
from missiond.host.cgroups import usage
from missiond.host.processes import jobs
from missiond.host.processes import stat as process_stat
from missiond.host.processes.executables import program_of
from missiond.host.processes.jobs import SharedCgroup
from missiond.host.processes.processes import inspect
from missiond.host.processes.procfs import ProcDirectory
from standins.programs.headless import headless


def test_it_is_alive_until_its_last_thread_has_ended() -> None:
    with headless() as child:
        stat = process_stat.read(child.pid)
        assert (stat.is_alive, stat.threads) == (True, 2)
        assert jobs.is_alive(stat)
        assert [each.pid for each in jobs.family(child.pid, stat.start_ticks)] == [child.pid]
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process_stat.read(child.pid).is_alive
        assert not jobs.is_alive(stat)


def test_it_is_known_by_what_it_runs() -> None:
    with headless() as child, ProcDirectory(child.pid) as directory:
        program = Path(sys.executable).resolve().name
        assert program_of(directory) == program
        assert directory.of_program("cmdline").split(b"\0")[1] == b"-c"
        assert probe.of_process(child.pid).app_id == program
        assert inspect(child.pid).pid == child.pid


def test_it_is_measured() -> None:
    with headless() as child:
        used = at_once(usage.measure([process_stat.read(child.pid)], child.pid, None))
        assert used.memory > 1_000_000
        assert used.state in ("running", "sleeping")
        assert (used.threads, used.processes) == (2, 1)


def test_it_is_a_job(tmp_path: Path) -> None:
    with headless() as child:
        (tmp_path / "cgroup.procs").write_text(f"{child.pid}\n")
        shared = SharedCgroup(tmp_path)
        job = at_once(shared.look())[child.pid]
        assert [stat.pid for stat in at_once(shared.members(job))] == [child.pid]


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_it_ends_when_it_is_told_to(name: str) -> None:
    with headless() as child:
        start = process_stat.read(child.pid).start_ticks
        processes.send(Signal(child.pid, start, name), Users(frozenset({os.getuid()})))
        assert child.wait(timeout=10) == -signal.Signals[f"SIG{name}"]


def test_a_stopped_one_says_so() -> None:
    with headless() as child:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert process_stat.read(child.pid).state == "T"
