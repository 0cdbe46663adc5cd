# SPDX-License-Identifier: Apache-2.0
"""How long a small program takes to go on at another host, and how long it runs at neither."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from bench.board import Board, Goal, Row
from bench.mates import mates
from hosts.continuing import HERE, UNAWARE, Going, listed, of, running
from hosts.machine import Host
from hosts.trees import SUITES, missing, package, tree

pytestmark = pytest.mark.timeout(900, func_only=True)
TURNS = int(os.environ.get("MISSIOND_BENCH_TURNS", "20"))


def _started(host: Host, pid: int) -> float:
    """When a process was started, in seconds of the clock that hosts on one machine share."""
    stat = host.run(["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()
    return int(stat[19]) / os.sysconf("SC_CLK_TCK")


_GONE = """
import os, sys, select, time
fd = os.pidfd_open(int(sys.argv[1]))
print("ready", flush=True)
select.select([fd], [], [])
print(time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
"""


@pytest.mark.parametrize("release", SUITES)
def test_a_small_program(board: Board, release: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """There and back again, so that it is always the other host that gets it."""
    reason = missing()
    if reason is not None:
        pytest.fail(f"this machine can't measure: {reason}")
    directory: Path = tree("host", release, package(tmp_path_factory.mktemp("package")))
    totals, pauses = [], []
    with mates((directory, directory), {UNAWARE: HERE.parent / "standins/programs/unaware.sh"}) as (
        _,
        hosts,
        ids,
    ):
        first, second = hosts
        first.spawn(["missionctl", "run", "--continuable", "--", UNAWARE], user="alice")
        for turn in range(TURNS):
            here, there, way = (first, second, ids) if turn % 2 == 0 else (second, first, ids[::-1])
            mission = of(here, UNAWARE)
            gone = here.spawn(["python3", "-c", _GONE, str(running(here, UNAWARE)[0])])
            assert gone.stdout.readline() == "ready\n"
            going = Going(here, *way, mission)
            assert going.end() == (0, "")
            times = {line[0]: line[-1] for line in going.said}
            totals.append(1000 * (times["ended"] - times["calling"]))
            [pid] = running(there, UNAWARE)
            pauses.append(1000 * (_started(there, pid) - float(gone.stdout.readline())))
            for host in (first, second):
                host.wait_for(lambda host=host: not listed(host))  # type: ignore[misc]
    for name, found, most in (("from call to ContinueDone", totals, 1000), ("running nowhere", pauses, 300)):
        cuts = statistics.quantiles(found, n=100, method="inclusive")
        board.add(Row(release, f"go on elsewhere, {name}, p50", cuts[49], "ms"))
        board.add(Row(release, f"go on elsewhere, {name}, p99", cuts[98], "ms", Goal(most)))
