# SPDX-License-Identifier: Apache-2.0
"""Runs many jobs, each a mission, until its input ends: crowd COUNT AGENT.  Prints "there" once all are seen.

For each line of input, COUNT, it prints as JSON the ns of COUNT calls of GetMissionInfos and runs of ps,
and the ms of CPU that each call took of the agent (and the caller), and each run of ps.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from time import perf_counter_ns

from bench.inside.sdbus import MISSIONS, Bus, done

PS = ["ps", "-e", "-o", "pid,user,lstart,comm"]


def listed(bus: Bus, wanted: set[int]) -> None:
    """Wait until all of them are missions."""
    while not wanted <= bus.missions():
        time.sleep(0.05)  # part of the set-up, not of what is measured


def cpu_ms(agent: int) -> float:
    """CPU time of the agent until now; in clock ticks, so that many calls are needed."""
    words = Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def measure(bus: Bus, agent: int, count: int) -> dict[str, object]:
    """GetMissionInfos and ps by turns."""
    calls, runs = [], []
    agent_cpu, own = cpu_ms(agent), time.process_time()
    children = os.times().children_user + os.times().children_system
    for _ in range(count):
        begun = perf_counter_ns()
        done(bus.ask(MISSIONS, b"GetMissionInfos", b"su", b"", 100_000))
        calls.append(perf_counter_ns() - begun)
    call_cpu, own = cpu_ms(agent) - agent_cpu, time.process_time() - own
    for _ in range(count):
        begun = perf_counter_ns()
        subprocess.run(PS, check=True, stdout=subprocess.DEVNULL)
        runs.append(perf_counter_ns() - begun)
    children = os.times().children_user + os.times().children_system - children
    return {
        "call": calls, "ps": runs,
        "call_cpu": call_cpu / count, "own_cpu": own * 1000 / count, "ps_cpu": children * 1000 / count,
    }  # fmt: skip


def main() -> None:
    """Run them."""
    bus = Bus()
    command = ["sleep", "100000"]
    agent = int(sys.argv[2])
    pids = {os.posix_spawnp(command[0], command, os.environ, setpgroup=0) for _ in range(int(sys.argv[1]))}
    try:
        listed(bus, pids)
        print("there", flush=True)
        for line in sys.stdin:
            print(json.dumps(measure(bus, agent, int(line))), flush=True)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


main()
