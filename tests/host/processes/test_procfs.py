# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from missiond.host.processes.procfs import (
    ProcDirectory,
    parse_nice,
    parse_real_uid,
    parse_start_ticks,
    parse_umask,
)
from standins.open_files import open_files

_NAMES = st.one_of(
    st.binary(max_size=16), st.sampled_from([b") R 1 2", b"(((", b"a\nUid:\t0\t0\t0\t0", b"\xff)"])
)


@given(_NAMES, st.integers(0, 2**63), st.lists(st.integers(-1, 2**63), min_size=18, max_size=18))
def test_start_ticks_behind_any_name(name: bytes, ticks: int, others: list[int]) -> None:
    numbers = " ".join(map(str, others)).encode()
    stat = b"4711 (" + name + b") S " + numbers + b" " + str(ticks).encode() + b" 0 0 0\n"
    assert parse_start_ticks(stat) == ticks


@given(st.binary(max_size=300))
def test_other_content_is_a_value_error(content: bytes) -> None:
    for parse in (parse_start_ticks, parse_real_uid, parse_nice, parse_umask):
        try:
            parse(content)
        except ValueError:
            continue
        except IndexError:
            pytest.fail("not a ValueError")


def test_a_score_that_changes_between_two_reads(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/oom_score_adj").write_bytes(b"0\n0\n")
    with ProcDirectory(7, tmp_path) as directory:
        assert directory.oom_score_adj() == 0


def test_real_uid_not_the_effective_one() -> None:
    assert (
        parse_real_uid(b"Name:\tx\\nUid:\t7\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t1\t1\t1\t1\n") == 1000
    )


def test_this_process() -> None:
    before = open_files()
    with ProcDirectory(os.getpid()) as directory:
        assert directory.uid() == os.getuid()
        assert directory.start_ticks() > 0
        assert directory.nice() == os.getpriority(os.PRIO_PROCESS, 0)
        before_umask = os.umask(0o027)
        assert directory.umask() == 0o027
        os.umask(before_umask)
        assert os.fsdecode(directory.executable()) == str(Path("/proc/self/exe").readlink())
        assert directory.name() == Path("/proc/self/comm").read_bytes().rstrip(b"\n")
        assert directory.read("cmdline", 3) == Path("/proc/self/cmdline").read_bytes()[:3]
    assert open_files() == before


def test_missing_process_and_missing_file() -> None:
    with pytest.raises(ProcessLookupError, match="no process 5"):
        ProcDirectory(5, Path("/nonexistent"))
    with ProcDirectory(os.getpid()) as directory, pytest.raises(ProcessLookupError):
        directory.read("no-such-file")
