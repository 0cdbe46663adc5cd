# SPDX-License-Identifier: Apache-2.0
"""What processes use, against what the kernel tells people of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from missiond.common.time_slice import at_once
from missiond.host.cgroups import usage
from missiond.host.processes import stat as process_stat

_RESIDENT = re.compile(r"^VmRSS:\s+([0-9]+) kB$", re.MULTILINE)


def _told(pid: int) -> int:
    """Bytes in RAM, as ps and top have them."""
    found = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_memory_of_small_programs_that_have_just_started() -> None:
    """Each processor counts for itself, and a first look at that sees nothing for most of them."""
    for _ in range(50):
        with subprocess.Popen(["sleep", "60"]) as program:
            try:
                program.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, program.pid, os.WSTOPPED)
                measured = at_once(usage.measure([process_stat.read(program.pid)], program.pid, None))
                assert measured.memory == _told(program.pid)
                assert measured.state == "stopped"
            finally:
                program.kill()


def test_memory_of_all_processes() -> None:
    with subprocess.Popen(["sleep", "60"]) as first, subprocess.Popen(["sleep", "60"]) as second:
        try:
            stats = []
            for program in (first, second):
                program.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, program.pid, os.WSTOPPED)
                stats.append(process_stat.read(program.pid))
            measured = at_once(usage.measure(stats, first.pid, None))
            assert measured.memory == _told(first.pid) + _told(second.pid)
            assert (measured.processes, measured.threads) == (2, 2)
        finally:
            first.kill()
            second.kill()


def test_one_that_has_ended_uses_nothing() -> None:
    with subprocess.Popen(["sleep", "60"]) as program:
        stat = process_stat.read(program.pid)
        program.kill()
    assert at_once(usage.measure([stat], stat.pid, None)).memory == 0
