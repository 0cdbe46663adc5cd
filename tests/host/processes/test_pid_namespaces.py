# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest

from missiond.host.processes.pid_namespaces import UnknownNumber, counted, meant_by


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A shell 100 that started a sandbox 200, in which 1 (the first), 7 (a shell) and 9 (the caller) are."""
    for pid, parent, inside in (
        (100, 1, ()),
        (200, 100, (1,)),
        (207, 200, (7,)),
        (209, 207, (9,)),
        (300, 1, (9,)),
    ):
        (tmp_path / str(pid)).mkdir()
        numbers = "\t".join(map(str, (pid, *inside)))
        (tmp_path / str(pid) / "status").write_text(f"Name:\tsh: x\nPPid:\t{parent}\nNSpid:\t{numbers}\n")
    (tmp_path / "9").mkdir()
    (tmp_path / "9/status").write_text("Name:\tanother\nPPid:\t1\nNSpid:\t9\n")
    return tmp_path


@pytest.mark.parametrize(("pid", "meant"), [(9, 209), (209, 209), (7, 207), (1, 200)])
def test_a_sandboxed_caller_means_itself_and_what_it_came_from(proc: Path, pid: int, meant: int) -> None:
    assert meant_by(209, pid, proc) == meant


@pytest.mark.parametrize("pid", [100, 300, 8, 4_194_303])
def test_nobody_else_is_taken_for_what_it_means(proc: Path, pid: int) -> None:
    with pytest.raises(UnknownNumber):
        meant_by(209, pid, proc)


def test_a_caller_of_this_namespace_means_any(proc: Path) -> None:
    assert meant_by(100, 9, proc) == 9


def test_a_caller_that_is_gone(proc: Path) -> None:
    with pytest.raises(ProcessLookupError):
        meant_by(4_194_303, 1, proc)


def test_this_process() -> None:
    assert counted(os.getpid()).numbers[0] == os.getpid()
    assert counted(os.getpid()).parent == os.getppid()
    assert meant_by(os.getpid(), 1) == 1


def test_a_kernel_that_does_not_tell(proc: Path) -> None:
    (proc / "100/status").write_text("Name:\tsh\n")
    assert counted(100, proc) == ((100,), 0)
